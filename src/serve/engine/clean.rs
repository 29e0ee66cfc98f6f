//! Forgetting runs: out of the store first, then their directories and what failed attempts left beside their outputs.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;
use walkdir::WalkDir;

use crate::language::manifest::absolute;
use crate::model::api::{ApiError, Clean, Cleaned, Counts, ErrorKind, RunState};
use crate::model::id::RunId;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::files::aside::{aside, remove};
use crate::reach::store::{Reader, RunFilter, StoreError};
use crate::serve::engine::handle::{Handle, Message};
use crate::serve::engine::refusal::{chain, no_run, refuse, storage};

impl Handle {
    /// Forgets runs that are over.
    ///
    /// # Errors
    /// When a run that is named is live or does not exist, or the store cannot be written.
    pub async fn clean(&self, clean: Clean) -> Result<Cleaned, ApiError> {
        self.refuse_live(&clean.runs).await?;
        let runs = self.reader.cleanable(&clean, clock::now()).await.map_err(|error| storage(&error))?;
        let mut files = Vec::new();
        for &run in &runs {
            files.extend(left_aside(&self.reader, run).await.map_err(|error| storage(&error))?);
        }
        if !clean.dry_run && !runs.is_empty() {
            let forgotten = runs.clone();
            self.ask(|reply| Message::Forget(forgotten, reply)).await?;
        }
        let mut dirs: Vec<PathBuf> = runs.iter().map(|&run| self.run_dir(run)).collect();
        dirs.extend(self.orphans(&runs).await?);
        let keep = clean.dry_run;
        let bytes = spawn_blocking(move || dirs.iter().chain(&files).map(|path| sweep_away(path, keep)).sum()).await;
        let bytes = bytes.map_err(|error| refuse(ErrorKind::Internal, error.to_string()))?;
        Ok(Cleaned { runs, bytes: Bytes(bytes) })
    }

    async fn refuse_live(&self, runs: &[RunId]) -> Result<(), ApiError> {
        for &run in runs {
            let stored = self.reader.run(run).await.map_err(|error| storage(&error))?.ok_or_else(|| no_run(run))?;
            if stored.summary.state == RunState::Active {
                return Err(ApiError {
                    hint: Some(format!("`csync cancel {run}` ends it")),
                    ..refuse(ErrorKind::Conflict, format!("run {run} is not over"))
                });
            }
        }
        Ok(())
    }

    /// Returns directories of runs that the store does not know: what an engine left that died while it cleaned.
    async fn orphans(&self, going: &[RunId]) -> Result<Vec<PathBuf>, ApiError> {
        let known = self.reader.runs(RunFilter::default()).await.map_err(|error| storage(&error))?;
        let known: HashSet<RunId> = known.into_iter().map(|stored| stored.summary.run).collect();
        let newest = known.iter().chain(going).max().copied();
        let entries = std::fs::read_dir(self.runs_dir()).into_iter().flatten().flatten();
        let run = |name: &OsStr| Some(RunId(name.to_str()?.parse().ok()?));
        let runs = entries.filter_map(|entry| run(&entry.file_name()));
        // A number above the newest may be of a run that is just coming in.
        let orphans = runs.filter(|run| !known.contains(run) && !going.contains(run) && Some(*run) < newest);
        Ok(orphans.map(|run| self.run_dir(run)).collect())
    }
}

/// Returns where failed attempts of a run left unfinished outputs.
async fn left_aside(reader: &Reader, run: RunId) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |counts: &Counts| counts.failed + counts.cancelled > 0;
    if !reader.run(run).await?.is_some_and(|stored| failed(&stored.summary.counts)) {
        return Ok(Vec::new());
    }
    let plan = match reader.plan(run).await {
        Ok(Some(stored)) => stored.plan,
        // Its outputs cannot be known: they stay.
        Ok(None) | Err(StoreError::Form { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let failed = reader.unsuccessful(run).await?;
    let known = failed.into_iter().filter(|instance| instance.index() < plan.instances.len());
    let outputs = known.flat_map(|instance| plan.outputs(instance));
    let mut files: Vec<_> =
        outputs.filter_map(|&path| aside(Path::new(&absolute(&plan.root, plan.path(path))))).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Removes a file or a directory, or only measures it; returns its size.
fn sweep_away(path: &Path, keep: bool) -> u64 {
    let entries = WalkDir::new(path).into_iter().flatten();
    let bytes = entries.filter_map(|entry| entry.metadata().ok()).filter(Metadata::is_file).map(|meta| meta.len());
    let bytes = bytes.sum();
    if !keep && let Err(error) = remove(path) {
        tracing::warn!(error = chain(&error), "something of a run that is forgotten stays");
    }
    bytes
}
