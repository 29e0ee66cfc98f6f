//! What can be wrong with a database, and what to do about it.

use std::path::{Path, PathBuf};

/// The store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A later csync wrote it.
    #[error(
        "the database {} was written by csync {theirs} (format {format}); this is csync {ours}, which reads formats up to {newest}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Version of csync that wrote it.
        theirs: String,
        /// This version.
        ours: &'static str,
        /// The file's format.
        format: i64,
        /// The newest format known here.
        newest: i64,
    },
    /// Some other program's database.
    #[error("{} is a database, but not one of csync's", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Its content makes no sense.
    #[error("the database {} is damaged ({detail})", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// No room.
    #[error("the disk that holds {} is full", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened or written.
    #[error("the database {} cannot be written ({detail})", path.display())]
    NoAccess {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// Another process holds it.
    #[error("another process holds the database {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Something was stored in a form that this version does not read.
    #[error("{what} in the database {} has form {form}, which this csync does not read", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What was read.
        what: &'static str,
        /// Its version byte; none when there was none, or what followed it made no sense.
        form: String,
    },
    /// Anything else that SQLite says.
    #[error("the database {} failed", path.display())]
    Sql {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Sorts an error of SQLite.
    pub(super) fn from_sqlx(path: &Path, source: sqlx::Error) -> Self {
        // https://www.sqlite.org/rescode.html: the low byte is the primary code.
        let code = match &source {
            sqlx::Error::Database(error) => {
                error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff)
            }
            sqlx::Error::Io(_) => Some(10),
            _ => None,
        };
        let path = path.to_path_buf();
        let detail = match &source {
            sqlx::Error::Database(error) => error.message().to_owned(),
            other => other.to_string(),
        };
        match code {
            Some(5 | 6) => Self::Busy { path },
            Some(3 | 8 | 10 | 14 | 23) => Self::NoAccess { path, detail },
            Some(11 | 26) => Self::Corrupt { path, detail },
            Some(13) => Self::Full { path },
            _ => Self::Sql { path, source },
        }
    }

    /// Returns what a person can do.
    pub fn hint(&self) -> Option<String> {
        let dir = |path: &Path| path.parent().unwrap_or(path).display().to_string();
        match self {
            Self::Newer { theirs, .. } => {
                Some(format!("install csync {theirs} or later, or set CSYNC_STATE to another directory"))
            }
            Self::Foreign { .. } => Some("set CSYNC_STATE to a directory of its own".to_owned()),
            Self::Corrupt { .. } => Some("`csync doctor --repair` moves it aside and starts a new one".to_owned()),
            Self::Full { path } => {
                Some(format!("make room in {} (`csync clean` removes the logs of old runs)", dir(path)))
            }
            Self::NoAccess { path, .. } => {
                Some(format!("make {} writable, or set CSYNC_STATE to a directory that is", dir(path)))
            }
            Self::Busy { .. } => Some("`csync doctor` says what is using it".to_owned()),
            Self::Form { .. } => None,
            Self::Sql { .. } => Some("`csync doctor` looks closer".to_owned()),
        }
    }

    /// Returns whether trying the same again later may succeed, because the cause lies outside the database.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::NoAccess { .. } | Self::Busy { .. } | Self::Sql { .. })
    }
}
