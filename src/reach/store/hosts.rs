//! What probes found on hosts. A probe that came to nothing leaves what was known before.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::model::facts::{HostReport, Probed};
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
    use crate::model::facts::{Facts, ProbeFailure};
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
}
