//! What is known of files that lie on hosts, of how fast files move, and of directories that hosts share with this machine.

use serde::de::DeserializeOwned;

use crate::decide::graph::queues::{UNKNOWN_LIMIT, Wait};
use crate::decide::learn::waits::Waited;
use crate::model::data::{Brought, DataFact, Holding, Rate, Replica};
use crate::model::host::HostName;
use crate::model::units::{Bytes, Timestamp};
use crate::reach::store::codec::{decode_listing, encode_listing};
use crate::reach::store::error::StoreError;
use crate::reach::store::open::{Place, Reader, Store, is_present};
use crate::reach::store::sql;

type ReplicaRow = (String, String, String, String, i64, i64, i64);
type RateRow = (String, String, f64, i64, i64);
type DatasetRow = (String, String, String, Option<i64>, Option<String>, Vec<u8>);
type WaitRow = (String, Option<String>, f64, f64, Option<u32>, Option<i64>, i64);
type MicrosRow = (String, Option<String>, i64, i64, Option<u32>, Option<i64>, i64);
type SharedRow = (String, String, bool, i64);
type BroughtRow = (String, String, i64, i64, i64);
type RoutingRow = (String, String, i64, String, String, i64, i64, i64);

/// How long what was brought counts, in microseconds: 90 days.
const BROUGHT_FOR: i64 = 90 * 86_400 * 1_000_000;

/// What routing a command goes by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// Where files that it may name lie.
    pub replicas: Vec<Replica>,
    /// What of them is here and was brought to hosts.
    pub brought: Vec<Brought>,
    /// A number that changes with how fast files moved, which [`Reader::rates`] returns, and that no other database has.
    pub rated: i64,
    /// What was found out of directories that hosts see, or do not see.
    pub shared: Vec<DataFact>,
    /// How long the last attempts on hosts waited until they ran; the newest first.
    pub waits: Vec<Wait>,
    /// A number that changes with what is known of hosts from probes, and that no other database has.
    pub probed: i64,
}

impl Store {
    /// Writes facts; the same ones twice are as good as once.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_data(&mut self, facts: &[DataFact]) -> Result<(), StoreError> {
        let brought = facts.iter().filter_map(|fact| match fact {
            DataFact::Brought(brought) => Some(brought.at.0),
            _ => None,
        });
        if let Some(at) = brought.max() {
            let dropped = sqlx::query(sql::DROP_BROUGHT).bind(at.saturating_sub(BROUGHT_FOR));
            let dropped = dropped.execute(&mut self.conn).await;
            dropped.map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        }
        for fact in facts {
            let query = match fact {
                DataFact::Lies(replica) => sqlx::query(sql::KEEP_REPLICA)
                    .bind(&replica.root)
                    .bind(&replica.path)
                    .bind(replica.host.as_str())
                    .bind(&replica.place)
                    .bind(signed(replica.size.0))
                    .bind(replica.mtime)
                    .bind(replica.at.0),
                DataFact::Gone { root, path, host } => {
                    sqlx::query(sql::DROP_REPLICA).bind(root).bind(path).bind(host.as_ref().map(HostName::as_str))
                }
                DataFact::Brought(brought) => sqlx::query(sql::KEEP_BROUGHT)
                    .bind(&brought.root)
                    .bind(&brought.path)
                    .bind(brought.host.as_str())
                    .bind(signed(brought.size.0))
                    .bind(brought.mtime)
                    .bind(brought.at.0),
                DataFact::Cleaned { host } => sqlx::query(sql::DROP_BROUGHT_TO).bind(host.as_str()),
                DataFact::Holds(holding) => sqlx::query(sql::KEEP_DATASET)
                    .bind(&holding.dataset)
                    .bind(holding.host.as_str())
                    .bind(&holding.path)
                    .bind(holding.looked.map(|looked| looked.0))
                    .bind(holding.trouble.as_ref().and_then(|trouble| serde_json::to_string(trouble).ok()))
                    .bind(encode_listing(&holding.files)),
                DataFact::Dropped { dataset, place } => sqlx::query(sql::DROP_DATASET)
                    .bind(dataset)
                    .bind(place.as_ref().map(|(host, _)| host.as_str()))
                    .bind(place.as_ref().map(|(_, path)| path.as_str())),
                DataFact::Rate(rate) => sqlx::query(sql::KEEP_RATE)
                    .bind(rate.source.as_str())
                    .bind(rate.target.as_str())
                    .bind(rate.rate)
                    .bind(signed(rate.bytes.0))
                    .bind(rate.at.0),
                DataFact::Shared { host, directory, seen, at } => {
                    sqlx::query(sql::KEEP_SHARED).bind(host.as_str()).bind(directory).bind(*seen).bind(at.0)
                }
            };
            let written = query.execute(&mut self.conn).await;
            written.map(drop).map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        }
        Ok(())
    }
}

impl Reader {
    /// Returns the files that lie on hosts: of one workflow's directory, or all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn replicas(&self, root: Option<&str>) -> Result<Vec<Replica>, StoreError> {
        let rows: Vec<ReplicaRow> = sqlx::query_as(sql::REPLICAS)
            .bind(root)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        Ok(rows.into_iter().filter_map(replica).collect())
    }

    /// Returns where files of a workflow's directory lie on hosts: of those paths alone.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn replicas_of(&self, root: &str, paths: &[&str]) -> Result<Vec<Replica>, StoreError> {
        let rows: Vec<ReplicaRow> = sqlx::query_as(sql::REPLICAS_OF)
            .bind(root)
            .bind(serde_json::to_string(paths).unwrap_or_default())
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        Ok(rows.into_iter().filter_map(replica).collect())
    }

    /// Returns what was brought to hosts of a workflow's directory.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn brought(&self, root: &str) -> Result<Vec<Brought>, StoreError> {
        let rows: Vec<BroughtRow> = sqlx::query_as(sql::BROUGHT)
            .bind(root)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        Ok(rows.into_iter().filter_map(|row| brought_of(root, row)).collect())
    }

    /// Returns the places of one dataset, or of all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn datasets(&self, name: Option<&str>) -> Result<Vec<Holding>, StoreError> {
        let rows: Vec<DatasetRow> = sqlx::query_as(sql::DATASETS)
            .bind(name)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        let holding = |(dataset, host, path, looked, trouble, listing): DatasetRow| {
            let trouble = trouble.and_then(|trouble| serde_json::from_str(&trouble).ok());
            // A list of another version is as good as none: the next look writes it anew.
            let listing = decode_listing(&listing).ok();
            let looked = looked.map(Timestamp).filter(|_| listing.is_some());
            let host = host.parse().ok()?;
            Some(Holding { dataset, host, path, looked, trouble, files: listing.unwrap_or_default() })
        };
        Ok(rows.into_iter().filter_map(holding).collect())
    }

    /// Returns how fast files moved, as far as any have.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn rates(&self) -> Result<Vec<Rate>, StoreError> {
        let (list,): (String,) = sqlx::query_as(sql::RATES)
            .fetch_one(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        let rows: Vec<RateRow> = self.listed("rates", &list)?;
        let rate = |(source, target, rate, bytes, at): RateRow| {
            let bytes = Bytes(u64::try_from(bytes).ok()?);
            Some(Rate { source: source.parse().ok()?, target: target.parse().ok()?, rate, bytes, at: Timestamp(at) })
        };
        Ok(rows.into_iter().filter_map(rate).collect())
    }

    fn listed<T: DeserializeOwned>(&self, of: &str, list: &str) -> Result<Vec<T>, StoreError> {
        serde_json::from_str(list)
            .map_err(|error| StoreError::Corrupt { path: self.path.clone(), detail: format!("{of}: {error}") })
    }

    /// Opens the database of another process and returns what routing goes by: where files of a directory lie, of those paths alone,
    /// and what holds for all commands; none where [`Reader::open`] opens nothing.
    ///
    /// It is asked for that at once, and looked at more closely only where that is no answer, or another version's: a question
    /// less takes a millisecond less, where both cores have something to do.
    ///
    /// # Errors
    /// Those of [`Reader::open`], and when the store cannot be read.
    pub async fn open_routing(
        place: &Place,
        root: &str,
        paths: &[&str],
    ) -> Result<Option<(Self, Routing)>, StoreError> {
        let Some(reader) = Self::unchecked(place) else { return Ok(None) };
        if let Ok((routing, true)) = reader.read_routing(root, paths).await {
            return Ok(Some((reader, routing)));
        }
        let Some(reader) = Self::open(place).await? else { return Ok(None) };
        let (routing, _) = reader.read_routing(root, paths).await?;
        Ok(Some((reader, routing)))
    }

    /// Reads what routing goes by, and whether the database is one of ours, in the present format.
    async fn read_routing(&self, root: &str, paths: &[&str]) -> Result<(Routing, bool), StoreError> {
        let (replicas, brought, rated, shared, waits, probed, application, format): RoutingRow =
            sqlx::query_as(sql::ROUTING)
                .bind(root)
                .bind(serde_json::to_string(paths).unwrap_or_default())
                .fetch_one(&self.pool)
                .await
                .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        let copies: Vec<(String, String, String, i64, i64, i64)> = self.listed("replicas", &replicas)?;
        let copies = copies.into_iter().filter_map(|(path, host, place, size, mtime, at)| {
            replica((root.to_owned(), path, host, place, size, mtime, at))
        });
        let brought: Vec<BroughtRow> = self.listed("brought", &brought)?;
        let seen: Vec<(String, String, i64, i64)> = self.listed("shared", &shared)?;
        let seen = seen.into_iter().filter_map(|(host, dir, seen, at)| shared_of((host, dir, seen != 0, at)));
        let waited: Vec<MicrosRow> = self.listed("waits", &waits)?;
        let waited = waited.into_iter().filter_map(|(host, queue, submitted, micros, cores, asked, ours)| {
            wait_of((host, queue, submitted as f64 / 1e6, micros as f64 / 1e6, cores, asked, ours))
        });
        let routing = Routing {
            replicas: copies.collect(),
            brought: brought.into_iter().filter_map(|row| brought_of(root, row)).collect(),
            rated,
            shared: seen.collect(),
            waits: waited.collect(),
            probed,
        };
        Ok((routing, is_present(application, format)))
    }

    /// Returns how long the last attempts on hosts waited until they ran, in seconds; the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn waits(&self) -> Result<Vec<Wait>, StoreError> {
        let rows: Vec<WaitRow> = sqlx::query_as(sql::WAITS)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        Ok(rows.into_iter().filter_map(wait_of).collect())
    }

    /// Returns what was found out of directories that hosts see, or do not see.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn shared(&self) -> Result<Vec<DataFact>, StoreError> {
        let rows: Vec<SharedRow> = sqlx::query_as(sql::SHARED)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        Ok(rows.into_iter().filter_map(shared_of).collect())
    }
}

fn wait_of((host, queue, submitted, seconds, cores, asked, ours): WaitRow) -> Option<Wait> {
    let asked = asked.map_or(UNKNOWN_LIMIT, |asked| asked as f64);
    let waited = Waited { submitted, seconds: seconds.max(0.0), cores: cores.unwrap_or(1), asked };
    Some(Wait { host: host.parse().ok()?, queue, waited, ours: ours != 0 })
}

fn shared_of((host, directory, seen, at): SharedRow) -> Option<DataFact> {
    Some(DataFact::Shared { host: host.parse().ok()?, directory, seen, at: Timestamp(at) })
}

fn replica((root, path, host, place, size, mtime, at): ReplicaRow) -> Option<Replica> {
    let (host, size) = (host.parse().ok()?, Bytes(u64::try_from(size).ok()?));
    Some(Replica { root, path, host, place, size, mtime, at: Timestamp(at) })
}

fn brought_of(root: &str, (path, host, size, mtime, at): BroughtRow) -> Option<Brought> {
    let (host, size) = (host.parse().ok()?, Bytes(u64::try_from(size).ok()?));
    Some(Brought { root: root.to_owned(), path, host, size, mtime, at: Timestamp(at) })
}

/// SQLite's integers are signed.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_learned_of_data_is_kept_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { path: dir.path().join("csync.db"), runs: dir.path().join("runs"), network: false };
        let mut store = Store::open(&place).await.unwrap();
        let replica = |path: &str, host: &str| Replica {
            root: "/w".to_owned(),
            path: path.to_owned(),
            host: host.parse().unwrap(),
            place: "/scratch/trees/1".to_owned(),
            size: Bytes(7),
            mtime: 5,
            at: Timestamp(9),
        };
        let lies = |path, host| DataFact::Lies(replica(path, host));
        let gone = |path: &str, host: Option<&str>| DataFact::Gone {
            root: "/w".to_owned(),
            path: path.to_owned(),
            host: host.map(|host| host.parse().unwrap()),
        };
        store.keep_data(&[lies("a", "hpc"), lies("a", "lab"), lies("b", "hpc"), lies("b", "hpc")]).await.unwrap();
        let reader = store.reader();
        assert_eq!(reader.replicas(Some("/w")).await.unwrap().len(), 3);
        assert!(reader.replicas(Some("/x")).await.unwrap().is_empty());
        let of = reader.replicas_of("/w", &["a", "none", "a"]).await.unwrap();
        assert_eq!(of, [replica("a", "hpc"), replica("a", "lab")]);
        assert_eq!(reader.replicas_of("/x", &["a"]).await.unwrap(), []);
        store.keep_data(&[gone("a", Some("hpc")), gone("b", None)]).await.unwrap();
        assert_eq!(reader.replicas(None).await.unwrap(), [replica("a", "lab")]);

        let brought = |path: &str, host: &str, size, at| Brought {
            root: "/w".to_owned(),
            path: path.to_owned(),
            host: host.parse().unwrap(),
            size: Bytes(size),
            mtime: 3,
            at: Timestamp(at),
        };
        let (old, late) = (brought("a", "hpc", 1, 5), 5 + BROUGHT_FOR);
        store.keep_data(&[DataFact::Brought(old.clone()), DataFact::Brought(brought("b", "lab", 2, 6))]).await.unwrap();
        assert_eq!(reader.brought("/w").await.unwrap(), [old, brought("b", "lab", 2, 6)]);
        assert_eq!(reader.brought("/x").await.unwrap(), []);
        // The same again takes its place; what was brought long before counts no more.
        let again = brought("b", "lab", 4, late + 1);
        store.keep_data(&[DataFact::Brought(again.clone())]).await.unwrap();
        assert_eq!(reader.brought("/w").await.unwrap(), std::slice::from_ref(&again));
        let (routing, _) = reader.read_routing("/w", &["b", "c"]).await.unwrap();
        assert_eq!(routing.brought, [again]);
        store.keep_data(&[DataFact::Cleaned { host: "lab".parse().unwrap() }]).await.unwrap();
        assert_eq!(reader.brought("/w").await.unwrap(), []);
        let mut seen = Holding {
            looked: Some(Timestamp(5)),
            files: vec![crate::model::data::Listed { path: "a".to_owned(), size: Bytes(1), mtime: 2 }],
            ..Holding::new("reads", "hpc".parse().unwrap(), "/vol/")
        };
        let other = Holding::new("reads", "lab".parse().unwrap(), "/x");
        store.keep_data(&[seen.clone(), other.clone()].map(DataFact::Holds)).await.unwrap();
        seen.trouble = Some(crate::model::data::Trouble::Gone);
        // It keeps its place in the order.
        store.keep_data(&[DataFact::Holds(seen.clone())]).await.unwrap();
        assert_eq!(reader.datasets(Some("reads")).await.unwrap(), [seen, other.clone()]);
        let there = Some(("hpc".parse().unwrap(), "/vol".to_owned()));
        store.keep_data(&[DataFact::Dropped { dataset: "reads".to_owned(), place: there }]).await.unwrap();
        assert_eq!(reader.datasets(None).await.unwrap(), [other]);
        store.keep_data(&[DataFact::Dropped { dataset: "reads".to_owned(), place: None }]).await.unwrap();
        assert_eq!(reader.datasets(None).await.unwrap(), []);
        let rate = |rate, at| Rate {
            source: HostName::local(),
            target: "hpc".parse().unwrap(),
            rate,
            bytes: Bytes(1),
            at: Timestamp(at),
        };
        store.keep_data(&[DataFact::Rate(rate(1.5, 1)), DataFact::Rate(rate(2.5, 2))]).await.unwrap();
        assert_eq!(reader.rates().await.unwrap(), [rate(2.5, 2)]);
        // No number of JSON; nothing moves that fast either.
        store.keep_data(&[DataFact::Rate(rate(f64::INFINITY, 3))]).await.unwrap();
        assert_eq!(reader.rates().await.unwrap(), []);
        let odd = Rate { source: "lab".parse().unwrap(), ..rate(0.25, 4) };
        store.keep_data(&[DataFact::Rate(odd.clone()), DataFact::Rate(rate(3e9, 5))]).await.unwrap();
        assert_eq!(reader.rates().await.unwrap(), [odd, rate(3e9, 5)]);
        let shared = |seen, at| {
            let (host, directory) = ("hpc".parse().unwrap(), "/w".to_owned());
            DataFact::Shared { host, directory, seen, at: Timestamp(at) }
        };
        store.keep_data(&[shared(false, 1), shared(true, 2)]).await.unwrap();
        assert_eq!(reader.shared().await.unwrap(), [shared(true, 2)]);
        store.keep_data(&[lies("c", "hpc"), lies("c", "lab"), lies("d", "hpc")]).await.unwrap();
        let routing = async |paths: &[&str]| Reader::open_routing(&place, "/w", paths).await.unwrap().unwrap().1;
        let all = routing(&["c", "none", "c"]).await;
        assert_eq!(all.replicas, [replica("c", "hpc"), replica("c", "lab")]);
        assert_eq!(all.shared, reader.shared().await.unwrap());
        assert_eq!((all.waits, all.probed), (vec![], reader.probed_version().await.unwrap()));
        // Whatever was measured since is told by it, also by a clock that goes back.
        let mut rated = vec![all.rated];
        for (at, speed) in [(6, 3e9), (6, 4e9), (2, 4e9), (1, 5e9)] {
            store.keep_data(&[DataFact::Rate(rate(speed, at))]).await.unwrap();
            let now = routing(&[]).await.rated;
            assert!(!rated.contains(&now), "{now} of {rated:?}");
            rated.push(now);
        }
        assert_eq!(Some(&routing(&[]).await.rated), rated.last());
        store.close().await;
    }
}
