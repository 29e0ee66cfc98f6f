//! Attempts that ended and that nothing was learned of yet: whoever comes after an engine that was killed makes up for it.

use crate::model::id::{InstanceId, JobKey, RunId};
use crate::reach::store::batch::Untaught;
use crate::reach::store::error::StoreError;
use crate::reach::store::open::Reader;
use crate::reach::store::sql;

impl Reader {
    /// Returns the first and the last turn with attempts that nothing was learned of yet; none where all was learned.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn untaught_turns(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let (first, last): (Option<i64>, Option<i64>) = sqlx::query_as(sql::UNTAUGHT_TURNS)
            .fetch_one(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        Ok(first.zip(last).map(|(first, last)| (first.unsigned_abs(), last.unsigned_abs())))
    }

    /// Returns the attempts of a few turns that nothing was learned of yet, from one turn on up to another, oldest first, and the
    /// turn after the last of those; none at the end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn untaught(&self, from: u64, to: u64, turns: u32) -> Result<Option<(Vec<Untaught>, u64)>, StoreError> {
        let bound = |turn: u64| i64::try_from(turn).unwrap_or(i64::MAX);
        let rows: Vec<(i64, String)> = sqlx::query_as(sql::UNTAUGHT)
            .bind(bound(from))
            .bind(bound(to))
            .bind(turns)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        let Some((last, _)) = rows.last() else { return Ok(None) };
        let next = last.unsigned_abs().saturating_add(1);
        let all = rows.iter().flat_map(|(_, lessons)| {
            // What cannot be read teaches nothing, and is no reason to teach nothing else.
            serde_json::from_str::<Vec<(u64, u32, u32, u32, u64)>>(lessons).unwrap_or_default()
        });
        let untaught = |(_, run, instance, attempt, input)| Untaught {
            key: JobKey { run: RunId(run), instance: InstanceId(instance), attempt },
            input,
        };
        Ok(Some((all.map(untaught).collect(), next)))
    }
}
