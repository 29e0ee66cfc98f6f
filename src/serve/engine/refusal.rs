//! Refusals in the words of the API.

use std::error::Error;

use crate::decide::engine::machine::Illegal;
use crate::model::api::{ApiError, ErrorKind};
use crate::model::id::RunId;
use crate::reach::files::FilesError;
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

/// Puts a directory that another run holds, or that cannot be used, in words.
pub(super) fn files(error: &FilesError) -> ApiError {
    match error {
        FilesError::Locked { owner, .. } => {
            let hint = match owner.run {
                Some(run) => format!("`csync wait {run}` waits for it, `csync cancel {run}` ends it"),
                None => "submit again when it is over".to_owned(),
            };
            ApiError { hint: Some(hint), ..refuse(ErrorKind::Conflict, error.to_string()) }
        }
        _ => refuse(ErrorKind::Storage, chain(error)),
    }
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
