//! What probes found on hosts. A probe that came to nothing leaves what was known before.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::model::facts::{HostReport, JobWait, NodeReport, Probed, QueueReport};
use crate::model::host::HostName;
use crate::model::units::Timestamp;
use crate::reach::store::error::StoreError;
use crate::reach::store::open::{Reader, Store};
use crate::reach::store::sql;

/// A host as it is kept: name, time, facts, failure.
type Row = (String, Option<i64>, Option<String>, Option<String>);

impl Store {
    /// Keeps what a probe found.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_probed(&mut self, report: &HostReport) -> Result<(), StoreError> {
        let json = |value: Option<String>| value.filter(|text| text != "null");
        let Probed { at, facts, failure } = &report.probed;
        let kept = sqlx::query(sql::KEEP_HOST)
            .bind(report.host.as_str())
            .bind(at.map(|at| at.0))
            .bind(json(serde_json::to_string(facts).ok()))
            .bind(json(serde_json::to_string(failure).ok()))
            .execute(&mut self.conn)
            .await;
        self.finish(kept.map(drop)).await
    }

    /// Keeps what jobs saw on compute nodes of a host that was probed.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_nodes(&mut self, report: &NodeReport) -> Result<(), StoreError> {
        let nodes = serde_json::json!(report.nodes).to_string();
        let kept = sqlx::query(sql::KEEP_NODES).bind(report.host.as_str()).bind(nodes).execute(&mut self.conn).await;
        self.finish(kept.map(drop)).await
    }

    /// Keeps how long jobs waited in the queues of a host; the same ones twice are as good as once.
    ///
    /// # Errors
    /// When the store cannot be written; nothing is kept then.
    pub async fn keep_waits(&mut self, report: &QueueReport) -> Result<(), StoreError> {
        let row = |wait: &JobWait| {
            let time = wait.time.and_then(|time| i64::try_from(time.0).ok());
            serde_json::json!([wait.job, wait.partition, wait.since.0, wait.started.0, wait.cores, time])
        };
        let list = serde_json::Value::Array(report.waits.iter().map(row).collect()).to_string();
        let kept = sqlx::query(sql::KEEP_WAITS).bind(report.host.as_str()).bind(list).execute(&mut self.conn).await;
        self.finish(kept.map(drop)).await
    }

    /// Forgets how long jobs waited that csync did not submit, on one host or on all; returns of how many.
    ///
    /// # Errors
    /// When the store cannot be written; all are there then.
    pub async fn forget_waits(&mut self, host: Option<&HostName>) -> Result<u64, StoreError> {
        let gone = sqlx::query(sql::FORGET_WAITS).bind(host.map(HostName::as_str)).execute(&mut self.conn).await;
        gone.map(|gone| gone.rows_affected()).map_err(|source| StoreError::from_sqlx(&self.path, source))
    }
}

impl Reader {
    /// Returns a number that changes with what is known of hosts from probes, and that no other database has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn probed_version(&self) -> Result<i64, StoreError> {
        let found: Result<(i64,), _> = sqlx::query_as(sql::HOSTS_VERSION).fetch_one(&self.pool).await;
        found.map(|(version,)| version).map_err(|source| StoreError::from_sqlx(&self.path, source))
    }

    /// Returns what is known of hosts from probes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn probed(&self) -> Result<BTreeMap<HostName, Probed>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(sql::HOSTS)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        let probed = |(host, at, facts, failure): Row| {
            let host = host.parse::<HostName>().ok()?;
            Some((host, Probed { at: at.map(Timestamp), facts: read(facts), failure: read(failure) }))
        };
        Ok(rows.into_iter().filter_map(probed).collect())
    }
}

/// Reads JSON; what another version wrote in a way that is not understood is as good as not there: a probe renews it.
fn read<T: DeserializeOwned>(text: Option<String>) -> Option<T> {
    serde_json::from_str(&text?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::facts::{Facts, Gpu, NodeSight, ProbeFailure};
    use crate::reach::store::Place;

    #[tokio::test]
    async fn a_probe_that_failed_leaves_what_was_known() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { path: dir.path().join("csync.db"), runs: dir.path().join("runs"), network: false };
        let mut store = Store::open(&place).await.unwrap();
        let host: HostName = "hpc".parse().unwrap();
        let mut facts = Facts::default();
        facts.machine.hostname = "login1".to_owned();
        let first = Probed { at: Some(Timestamp(5)), facts: Some(facts), failure: None };
        let before = store.reader().probed_version().await.unwrap();
        store.keep_probed(&HostReport { host: host.clone(), probed: first.clone() }).await.unwrap();
        assert_eq!(store.reader().probed().await.unwrap()[&host], first);
        assert_eq!(store.reader().probed_version().await.unwrap(), before + 1);
        let failure = ProbeFailure { at: Timestamp(9_000), message: "refused".to_owned() };
        let second = Probed { failure: Some(failure.clone()), ..Probed::default() };
        store.keep_probed(&HostReport { host: host.clone(), probed: second }).await.unwrap();
        assert_eq!(store.reader().probed_version().await.unwrap(), before + 2, "a failure is news too");
        let known = store.reader().probed().await.unwrap();
        assert_eq!(known[&host], Probed { failure: Some(failure), ..first.clone() });
        store.keep_probed(&HostReport { host: host.clone(), probed: first.clone() }).await.unwrap();
        assert_eq!(store.reader().probed().await.unwrap()[&host], first, "a failure is forgotten by a success");
        store.close().await;
    }

    #[tokio::test]
    async fn what_jobs_saw_on_nodes_outlives_probes() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { path: dir.path().join("csync.db"), runs: dir.path().join("runs"), network: false };
        let mut store = Store::open(&place).await.unwrap();
        let host: HostName = "hpc".parse().unwrap();
        let sight = |at: i64, internet, gpus| NodeSight {
            at: Timestamp(at * 1_000_000),
            node: format!("n{at}"),
            internet,
            gpus,
        };
        let gpu = Gpu { count: 1, model: "T9".to_owned(), ..Gpu::default() };
        let report = |nodes: &[(&str, NodeSight)]| NodeReport {
            host: "hpc".parse().unwrap(),
            nodes: nodes.iter().map(|(name, sight)| ((*name).to_owned(), sight.clone())).collect(),
        };
        // Of a host that nobody probed it is not known what it is.
        store.keep_nodes(&report(&[("x", sight(1, Some(true), None))])).await.unwrap();
        assert_eq!(store.reader().probed().await.unwrap(), BTreeMap::new());
        let probed = |hostname: &str| {
            let mut facts = Facts::default();
            facts.machine.hostname = hostname.to_owned();
            HostReport {
                host: host.clone(),
                probed: Probed { at: Some(Timestamp(5)), facts: Some(facts), failure: None },
            }
        };
        store.keep_probed(&probed("login1")).await.unwrap();
        let before = store.reader().probed_version().await.unwrap();
        let odd = "a\".b'";
        let seen = sight(2, Some(false), Some(vec![gpu.clone()]));
        store.keep_nodes(&report(&[("gpu", seen.clone()), (odd, sight(2, None, None))])).await.unwrap();
        assert_eq!(store.reader().probed_version().await.unwrap(), before + 1, "routing reads it again");
        // A later one that had no GPU tells nothing of them; one of another partition tells nothing of this one.
        store.keep_nodes(&report(&[("gpu", sight(3, Some(true), None))])).await.unwrap();
        store.keep_probed(&probed("login2")).await.unwrap();
        let failure = ProbeFailure { at: Timestamp(9), message: "refused".to_owned() };
        let failed = Probed { failure: Some(failure), ..Probed::default() };
        store.keep_probed(&HostReport { host: host.clone(), probed: failed }).await.unwrap();
        let facts = store.reader().probed().await.unwrap().remove(&host).unwrap().facts.unwrap();
        assert_eq!(facts.machine.hostname, "login2");
        let wanted = [(odd, sight(2, None, None)), ("gpu", sight(3, Some(true), Some(vec![gpu])))];
        assert_eq!(facts.nodes, wanted.map(|(name, sight)| (name.to_owned(), sight)).into());
        store.close().await;
    }
}

#[cfg(test)]
mod waits {
    use super::*;
    use crate::decide::graph::queues::Wait;
    use crate::model::units::Walltime;
    use crate::reach::store::open::Place;

    const BEGUN: i64 = 1_700_000_000;

    fn wait(job: i64, partition: Option<&str>, seconds: i64) -> JobWait {
        let since = BEGUN + job;
        JobWait {
            job: job.to_string(),
            partition: partition.map(str::to_owned),
            since: Timestamp(since * 1_000_000),
            started: Timestamp((since + seconds) * 1_000_000),
            cores: 4,
            time: (seconds > 1).then_some(Walltime(600)),
        }
    }

    #[tokio::test]
    async fn what_jobs_waited_elsewhere_is_kept_once_and_of_each_queue_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { path: dir.path().join("csync.db"), runs: dir.path().join("runs"), network: false };
        let mut store = Store::open(&place).await.unwrap();
        let reader = store.reader();
        let report = |host: &str, waits: Vec<JobWait>| QueueReport { host: host.parse().unwrap(), waits };
        let some = report("hpc", vec![wait(1, Some("long"), 60), wait(2, None, 1)]);
        for _ in 0..2 {
            store.keep_waits(&some).await.unwrap();
        }
        let kept = reader.waits().await.unwrap();
        let told = |wait: &Wait| {
            let Wait { host, queue, waited, ours } = wait;
            assert!(!ours, "{wait:?}");
            (
                host.to_string(),
                queue.clone(),
                waited.submitted as i64 - BEGUN,
                waited.seconds,
                waited.cores,
                waited.asked,
            )
        };
        let (hpc, long) = ("hpc".to_owned(), Some("long".to_owned()));
        let wanted = [(hpc.clone(), None, 2, 1.0, 4, 3600.0), (hpc, long, 1, 60.0, 4, 600.0)];
        assert_eq!(kept.iter().map(told).collect::<Vec<_>>(), wanted, "the newest first");
        assert_eq!(Reader::open_routing(&place, "/w", &[]).await.unwrap().unwrap().1.waits, kept);
        // A member of the array that started sooner.
        let sooner = JobWait { started: Timestamp((BEGUN + 1 + 20) * 1_000_000), ..wait(1, Some("long"), 60) };
        store.keep_waits(&report("hpc", vec![sooner])).await.unwrap();
        let kept = reader.waits().await.unwrap();
        assert_eq!(kept.iter().map(|wait| wait.waited.seconds).collect::<Vec<_>>(), [1.0, 20.0]);
        // The newest of each queue, in whatever order they come, and however often.
        let many: Vec<JobWait> = (10..1010).map(|job| wait(job, Some("long"), 5)).collect();
        for part in [&many[500..], &many[..500], &many[..]] {
            store.keep_waits(&report("hpc", part.to_vec())).await.unwrap();
        }
        let kept = reader.waits().await.unwrap();
        let long: Vec<i64> =
            kept.iter().filter(|wait| wait.queue.is_some()).map(|wait| wait.waited.submitted as i64 - BEGUN).collect();
        assert_eq!((long.len(), long[0], long[199], kept.len()), (200, 1009, 810, 201));
        // Many queues share what is read of them all.
        for queue in 0..40 {
            let name = format!("q{queue}");
            let waits = (0..100).map(|job| wait(2000 + job * 40 + queue, Some(&name), 5)).collect();
            store.keep_waits(&report("lab", waits)).await.unwrap();
        }
        let kept = reader.waits().await.unwrap();
        let of = |name: &str| kept.iter().filter(|wait| wait.queue.as_deref() == Some(name)).count();
        assert_eq!((of("q0"), of("q39"), of("long")), (47, 47, 47), "two thousand of 42 queues");
        let (hpc, nobody): (HostName, HostName) = ("hpc".parse().unwrap(), "x".parse().unwrap());
        assert_eq!(store.forget_waits(Some(&nobody)).await.unwrap(), 0);
        assert!(store.forget_waits(Some(&hpc)).await.unwrap() >= 47);
        let left = reader.waits().await.unwrap();
        assert!(!left.is_empty() && left.iter().all(|wait| wait.host.as_str() == "lab"));
        store.forget_waits(None).await.unwrap();
        assert_eq!(reader.waits().await.unwrap(), []);
        store.close().await;
    }
}
