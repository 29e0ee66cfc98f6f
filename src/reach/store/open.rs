//! Opening: which file it is, whether it is ours, and bringing it to the present format.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, SqliteConnection};

use crate::model::units::Timestamp;
use crate::reach::config::StateDir;
use crate::reach::store::error::StoreError;
use crate::reach::store::sql;

/// `csyn`: tells our files from other SQLite databases.
const APPLICATION_ID: i64 = 0x6373_796e;
/// The newest format.
const NEWEST: i64 = sql::MIGRATIONS.len() as i64;
/// This csync.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the store lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Where runs have their directories: a new database numbers its runs after those that are there.
    pub runs: PathBuf,
    /// Whether it lies on a network filesystem: the write-ahead log needs shared memory, which those do not have.
    pub network: bool,
}

impl Place {
    /// Returns the place in a state directory.
    pub fn of(dir: &StateDir) -> Self {
        Self { path: dir.database(), runs: dir.root().join("runs"), network: dir.is_on_network_filesystem() }
    }

    fn options(&self) -> SqliteConnectOptions {
        // Rows of a large answer are handed over by the thousand: the threads wake each other less often.
        SqliteConnectOptions::new().filename(&self.path).row_buffer_size(1000).disable_statement_logging()
    }

    /// Returns the largest number of a run that has a directory.
    fn last_run(&self) -> i64 {
        let entries = std::fs::read_dir(&self.runs).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max().unwrap_or(0)
    }
}

/// The store, open for writing: the engine has the only one.
#[derive(Debug)]
pub struct Store {
    pub(super) conn: SqliteConnection,
    pub(super) path: PathBuf,
    /// Whether commits are synced by the log alone: not on a network filesystem.
    pub(super) wal: bool,
    reader: Reader,
}

/// The store, open for reading; clones share connections.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) pool: SqlitePool,
    pub(super) path: PathBuf,
}

impl Store {
    /// Opens the database, making it when there is none and bringing an older one to the present format.
    ///
    /// # Errors
    /// When it is of a newer version, of another program, damaged, or cannot be written.
    pub async fn open(place: &Place) -> Result<Self, StoreError> {
        let path = &place.path;
        let failed = |source| StoreError::from_sqlx(path, source);
        make_private(path).map_err(|error| unusable(path, &error))?;
        let mut conn = place.options().connect().await.map_err(failed)?;
        let format = format_of(&mut conn, path).await?;
        // An empty file has nothing to lose: its first pages are synced once, and not with every setting (measured: 8 syncs).
        let is_new = format == 0 && !place.network;
        if is_new {
            conn.execute("PRAGMA synchronous = OFF").await.map_err(failed)?;
        }
        // Pages of deleted runs go back to the filesystem when asked; only an empty database can be told so.
        conn.execute("PRAGMA auto_vacuum = INCREMENTAL").await.map_err(failed)?;
        let journal = if place.network { "PRAGMA journal_mode = TRUNCATE" } else { "PRAGMA journal_mode = WAL" };
        conn.execute(journal).await.map_err(failed)?;
        if is_new {
            sync(path).await.map_err(|error| unusable(path, &error))?;
        }
        let settings = if place.network { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
        conn.execute(settings).await.map_err(failed)?;
        if format < NEWEST {
            migrate(&mut conn, format, place).await.map_err(failed)?;
        }
        conn.execute(sql::BATCH).await.map_err(failed)?;
        conn.execute(AssertSqlSafe(sql::batch_trigger())).await.map_err(failed)?;
        let pool = SqlitePoolOptions::new().max_connections(2).test_before_acquire(false);
        let reader = Reader { pool: pool.connect_lazy_with(place.options().read_only(true)), path: path.clone() };
        Ok(Self { conn, path: path.clone(), wal: !place.network, reader })
    }

    /// Returns connections that only read.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Closes it, which brings the write-ahead log into the file.
    pub async fn close(self) {
        self.reader.pool.close().await;
        if let Err(error) = self.conn.close().await {
            // Everything is written all the same; the next one who opens it reads the log.
            tracing::warn!(%error, "the database is not closed cleanly");
        }
    }

    /// Returns what SQLite finds wrong with the file, at most ten things.
    ///
    /// # Errors
    /// When it cannot even look.
    pub async fn check(&mut self) -> Result<Vec<String>, StoreError> {
        let found: Vec<(String,)> = sqlx::query_as(sql::CHECK)
            .fetch_all(&mut self.conn)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        Ok(found.into_iter().map(|(line,)| line).filter(|line| line != "ok").collect())
    }
}

impl Reader {
    /// Opens the database of another process for reading; none when there is none, or when it is of an older format and so
    /// holds nothing that an engine of this version would not first rewrite.
    ///
    /// # Errors
    /// When it is of a newer version, of another program, damaged, or cannot be read.
    pub async fn open(place: &Place) -> Result<Option<Self>, StoreError> {
        let Some(mut reader) = Self::unchecked(place) else { return Ok(None) };
        let format = match reader.format().await {
            // A write-ahead log needs its shared-memory file, which nobody can make in a directory that is read-only; nobody
            // writes there either, so the file stands still.
            Err(StoreError::NoAccess { .. }) => {
                reader = Self::lazy(place, place.options().read_only(true).immutable(true));
                reader.format().await?
            }
            other => other?,
        };
        if format < NEWEST {
            return Ok(None);
        }
        Ok(Some(reader))
    }

    /// Returns a reader that opens the database when it is asked something; none where there is none.
    pub(super) fn unchecked(place: &Place) -> Option<Self> {
        let is_there = std::fs::metadata(&place.path).is_ok_and(|meta| meta.len() > 0);
        is_there.then(|| Self::lazy(place, place.options().read_only(true)))
    }

    fn lazy(place: &Place, options: SqliteConnectOptions) -> Self {
        let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).connect_lazy_with(options);
        Self { pool, path: place.path.clone() }
    }

    async fn format(&self) -> Result<i64, StoreError> {
        let mut conn = self.pool.acquire().await.map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        format_of(&mut conn, &self.path).await
    }
}

/// Moves a damaged database aside, with its log, and returns its new name. Nobody may have it open.
///
/// # Errors
/// When it cannot be renamed.
pub fn set_aside(place: &Place, now: Timestamp) -> Result<PathBuf, StoreError> {
    let with = |base: &Path, suffix: &str| {
        let mut name = base.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(&place.path, &format!(".damaged-{}", now.0 / 1_000_000));
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match std::fs::rename(with(&place.path, suffix), with(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(&place.path, &error)),
            _ => {}
        }
    }
    Ok(aside)
}

/// Makes the file readable for its owner alone before SQLite makes it for everybody.
fn make_private(path: &Path) -> io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

/// Brings a file to the disk.
async fn sync(path: &Path) -> io::Result<()> {
    let path = path.to_path_buf();
    // Not here: a disk that is busy takes its time.
    let synced = tokio::task::spawn_blocking(move || std::fs::File::open(path)?.sync_all());
    synced.await.map_err(io::Error::other)?
}

fn unusable(path: &Path, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path: path.to_path_buf() },
        _ => StoreError::NoAccess { path: path.to_path_buf(), detail: error.to_string() },
    }
}

/// Returns whether a database is ours and of the present format, by what it says of itself.
pub(super) fn is_present(application: i64, format: i64) -> bool {
    (application, format) == (APPLICATION_ID, NEWEST)
}

/// Returns the format, 0 for an empty file.
async fn format_of(conn: &mut SqliteConnection, path: &Path) -> Result<i64, StoreError> {
    let failed = |source| StoreError::from_sqlx(path, source);
    let (id, format, tables): (i64, i64, i64) =
        sqlx::query_as(sql::FORMAT).fetch_one(&mut *conn).await.map_err(failed)?;
    if id == 0 && format == 0 && tables == 0 {
        return Ok(0);
    }
    if id != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_path_buf() });
    }
    if format <= NEWEST {
        return Ok(format);
    }
    let theirs: Result<Option<(String,)>, _> = sqlx::query_as(sql::WRITTEN_BY).fetch_optional(conn).await;
    let theirs = theirs.ok().flatten().map_or_else(|| "a later version".to_owned(), |(version,)| version);
    Err(StoreError::Newer { path: path.to_path_buf(), theirs, ours: VERSION, format, newest: NEWEST })
}

/// Brings a database to the present format, all or nothing.
async fn migrate(conn: &mut SqliteConnection, from: i64, place: &Place) -> Result<(), sqlx::Error> {
    let steps = sql::MIGRATIONS.get(from as usize..).unwrap_or_default();
    conn.execute("BEGIN EXCLUSIVE").await?;
    for step in steps {
        conn.execute(*step).await?;
    }
    if from == 0 {
        sqlx::query(sql::SKIP_RUNS).bind(place.last_run()).execute(&mut *conn).await?;
    }
    sqlx::query(sql::SET_WRITTEN_BY).bind(VERSION).execute(&mut *conn).await?;
    let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {NEWEST}; COMMIT");
    conn.execute(AssertSqlSafe(marks)).await?;
    Ok(())
}
