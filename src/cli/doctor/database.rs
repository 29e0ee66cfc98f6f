//! Whether the database can be used, and a new one where it cannot.

use std::fs::{File, OpenOptions, TryLockError};

use crate::cli::doctor::Finding;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::store::{Place, Reader, Store, StoreError, set_aside};

const CHECK: &str = "database";

/// Opens the database as far as that disturbs nobody: whole when no engine holds it, for reading when one does.
pub(super) async fn check(state_dir: &StateDir, engine_runs: bool, repair: bool) -> Finding {
    let place = Place::of(state_dir);
    let Ok(meta) = std::fs::metadata(&place.path) else {
        return Finding::ok(CHECK, "none yet; the first run makes it");
    };
    let size = Bytes(meta.len());
    // Held while we look, so that no engine starts in the middle.
    let Some(_lock) = lock(state_dir) else {
        return match Reader::open(&place).await {
            Ok(_) if repair && engine_runs => Finding::problem(
                CHECK,
                "an engine uses it, so it is not repaired",
                "`csync engine stop --now`, then `csync doctor --repair`",
            ),
            Ok(_) => Finding::ok(CHECK, format!("opens, {size}")),
            Err(error) => problem(&error),
        };
    };
    match examine(&place).await {
        Ok(found) if found.is_empty() => Finding::ok(CHECK, format!("opens and is sound, {size}")),
        Ok(_) | Err(StoreError::Corrupt { .. }) if repair => match set_aside(&place, clock::now()) {
            Ok(aside) => {
                Finding::ok(CHECK, format!("was damaged, and is now {}; the next run makes a new one", aside.display()))
            }
            Err(error) => problem(&error),
        },
        Ok(found) => Finding::problem(
            CHECK,
            format!("is damaged: {}", found.join("; ")),
            "`csync doctor --repair` moves it aside and starts a new one",
        ),
        Err(error) => problem(&error),
    }
}

async fn examine(place: &Place) -> Result<Vec<String>, StoreError> {
    Store::open(place).await?.check().await
}

fn problem(error: &StoreError) -> Finding {
    let fix = error.hint().unwrap_or_else(|| "set CSYNC_STATE to another directory".to_owned());
    Finding::problem(CHECK, error.to_string(), fix)
}

/// Takes the engine's lock; none when an engine holds it, or the file cannot be made (then reading is all that can be done).
fn lock(state_dir: &StateDir) -> Option<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(state_dir.engine_lock()).ok()?;
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[tokio::test]
    async fn a_damaged_database_is_moved_aside_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = StateDir::at(dir.path().join("state"), None);
        state_dir.create().unwrap();
        assert_eq!(check(&state_dir, false, false).await.level, Level::Ok);
        std::fs::write(state_dir.database(), "SQLite format 3\0 and then nothing that makes sense ".repeat(200))
            .unwrap();
        let found = check(&state_dir, false, false).await;
        assert_eq!(found.level, Level::Problem, "{found:?}");
        assert!(found.fix.unwrap().contains("--repair"));
        let held = lock(&state_dir).unwrap();
        assert_eq!(check(&state_dir, true, true).await.level, Level::Problem, "an engine holds it");
        assert!(state_dir.database().exists());
        drop(held);
        assert_eq!(check(&state_dir, false, true).await.level, Level::Ok);
        assert!(!state_dir.database().exists());
    }
}
