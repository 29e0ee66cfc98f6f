//! Refusals in the words of the API.

use std::error::Error;

use crate::decide::engine::machine::Illegal;
use crate::model::api::{ApiError, ErrorKind};
use crate::model::id::RunId;
use crate::reach::files::FilesError;
use crate::reach::files::lock::Owner;
use crate::reach::store::StoreError;

/// Makes a refusal.
pub fn refuse(kind: ErrorKind, message: impl Into<String>) -> ApiError {
    ApiError { kind, message: message.into(), hint: None, diagnostics: Vec::new() }
}

/// Puts a failure of the store in words.
pub fn storage(error: &StoreError) -> ApiError {
    let kind = match error {
        StoreError::Newer { .. } | StoreError::Form { .. } => ErrorKind::Version,
        _ => ErrorKind::Storage,
    };
    ApiError { hint: error.hint(), ..refuse(kind, chain(error)) }
}

/// Puts a directory that another run holds, or that cannot be used, in words; `us` is who wanted it.
pub(super) fn files(error: &FilesError, us: &Owner) -> ApiError {
    match error {
        FilesError::Locked { owner, .. } => {
            let hint =
                owner.run.map_or_else(|| "submit again when it is over".to_owned(), |run| to_reach(run, owner, us));
            ApiError { hint: Some(hint), ..refuse(ErrorKind::Conflict, error.to_string()) }
        }
        FilesError::Io { path, .. } => {
            let dir = path.parent().unwrap_or(path).display();
            let hint = format!("results are written there: make it writable (`ls -ld {dir}`), or copy the workflow");
            ApiError { hint: Some(hint), ..refuse(ErrorKind::Storage, chain(error)) }
        }
        _ => refuse(ErrorKind::Storage, chain(error)),
    }
}

/// Says how to reach a run that may be another engine's: of another state directory, of another host.
fn to_reach(run: RunId, owner: &Owner, us: &Owner) -> String {
    let place = if owner.host == us.host { String::new() } else { format!("on {}, ", owner.host) };
    let csync = if owner.state_dir == us.state_dir && owner.host == us.host {
        "csync".to_owned()
    } else {
        format!("CSYNC_STATE='{}' csync", owner.state_dir)
    };
    format!("{place}`{csync} wait {run}` waits for it, `{csync} cancel {run}` ends it")
}

pub(super) fn no_run(run: RunId) -> ApiError {
    ApiError {
        hint: Some("`csync runs` lists the runs".to_owned()),
        ..refuse(ErrorKind::NotFound, format!("there is no run {run}"))
    }
}

pub(super) fn leaving() -> ApiError {
    ApiError {
        hint: Some("the same command again starts another".to_owned()),
        ..refuse(ErrorKind::Conflict, "the engine is leaving")
    }
}

pub(super) fn illegal(error: Illegal) -> ApiError {
    refuse(ErrorKind::Internal, error.to_string())
}

/// Returns an error with all its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_another_engine_is_reached_there() {
        let owner = |host: &str, state_dir: &str| Owner {
            run: Some(RunId(3)),
            pid: 1,
            host: host.to_owned(),
            state_dir: state_dir.to_owned(),
        };
        let us = owner("here", "/a");
        for (other, start) in [
            (owner("here", "/a"), "`csync wait 3`"),
            (owner("here", "/b"), "`CSYNC_STATE='/b' csync wait 3`"),
            (owner("there", "/a"), "on there, `CSYNC_STATE='/a' csync wait 3`"),
        ] {
            assert!(to_reach(RunId(3), &other, &us).starts_with(start), "{other:?}");
        }
    }
}
