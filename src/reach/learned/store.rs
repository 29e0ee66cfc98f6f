//! The store: sealed records under keyed tokens.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection};

use crate::language::command::{Signature, Token, TokenKey};
use crate::model::host::HostName;
use crate::model::observation::Observation;
use crate::model::units::Timestamp;
use crate::reach::config::StateDir;
use crate::reach::learned::class::{class_before, class_of, machine};
use crate::reach::learned::error::LearnedError;
use crate::reach::learned::exchange::{Dated, Exchange};
use crate::reach::learned::key::MasterKey;
use crate::reach::learned::record::{self, Entry};
use crate::reach::learned::seal::{Seal, random};

/// `csyl`: tells the file from other databases.
const APPLICATION_ID: i64 = 0x6373_796c;
/// The format. What is of format 2 has the records of this machine under the class that every machine was for itself.
const FORMAT: i64 = 3;
/// The oldest format that is brought to this one.
const OLDEST: i64 = 2;
/// What the check value says, once opened.
const CHECK: &[u8] = b"csync learned";
/// A data key's place is its number; records are at their token and key.
const KEYS: &str = "csync 2026-11 wraps data keys";
pub(super) const TOKENS: &str = "csync 2026-11 tokens";
/// How many records of another machine are taken in in one go.
const TAKEN: usize = 500;
/// How many records are sealed anew in one go.
const RESEALED: i64 = 500;
/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE checks (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
CREATE TABLE keys (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, wrapped BLOB NOT NULL) STRICT;
CREATE TABLE records (
    token BLOB PRIMARY KEY, likes BLOB NOT NULL, key INTEGER NOT NULL, day INTEGER NOT NULL, sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX records_by_likes ON records (likes);
CREATE INDEX records_by_key ON records (key);
";

/// Where the store and its key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The store.
    pub path: PathBuf,
    /// The master key.
    pub key: PathBuf,
    /// Whether it lies on a network filesystem.
    pub network: bool,
}

impl Place {
    /// Returns the place in a state directory.
    pub fn of(dir: &StateDir) -> Self {
        Self { path: dir.learned(), key: dir.learned_key(), network: dir.is_on_network_filesystem() }
    }

    /// Returns after how many days without anything new a record is dropped: as somebody said, else [`RETENTION`].
    pub fn retention(&self) -> u32 {
        let said = std::fs::read_to_string(self.retention_file()).ok();
        said.and_then(|days| days.trim().parse().ok()).filter(|days| *days > 0).unwrap_or(RETENTION)
    }

    /// Keeps after how many days records are dropped.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_retention(&self, days: u32) -> std::io::Result<()> {
        let (file, beside) = (self.retention_file(), self.path.with_extension("retention.new"));
        std::fs::write(&beside, format!("{days}\n"))?;
        std::fs::rename(beside, file)
    }

    fn retention_file(&self) -> PathBuf {
        self.path.with_extension("retention")
    }
}

/// Days after which what was not added to is dropped, unless somebody says otherwise.
const RETENTION: u32 = 180;

/// What [`Learned::care`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cared {
    /// Records that are gone: too old, or not to be opened.
    pub dropped: u64,
    /// Whether nothing is left to do today.
    pub is_done: bool,
}

/// What one attempt taught.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesson {
    /// What the command is like.
    pub signature: Signature,
    /// On which class of hosts.
    pub class: Token,
    /// What it needed.
    pub seen: Observation,
}

/// The store, open.
pub struct Learned {
    conn: SqliteConnection,
    place: Place,
    master: MasterKey,
    /// Data keys by number; the last is the one in use.
    keys: BTreeMap<i64, Seal>,
    tokens: TokenKey,
    /// This store among those that exchange what they learned.
    origin: u64,
    /// How many records could not be opened.
    unreadable: u32,
}

impl std::fmt::Debug for Learned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learned").field("path", &self.place.path).finish_non_exhaustive()
    }
}

impl Learned {
    /// Opens the store, making it and its key when there are none.
    ///
    /// # Errors
    /// When the key is missing, wrong or needs a passphrase, or when the file is damaged or something else.
    pub async fn open(place: &Place, passphrase: Option<&str>, now: Timestamp) -> Result<Self, LearnedError> {
        let unusable = |source| LearnedError::Unusable { path: place.path.clone(), source };
        let there = std::fs::metadata(&place.path).is_ok_and(|meta| meta.len() > 0);
        let master = match MasterKey::load(&place.key, passphrase)? {
            Some(master) => master,
            None if there => return Err(LearnedError::KeyLost { path: place.path.clone(), key: place.key.clone() }),
            None => MasterKey::make(&place.key)?,
        };
        let private = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&place.path);
        private.map_err(|source| LearnedError::File { path: place.path.clone(), source })?;
        let options =
            SqliteConnectOptions::new().filename(&place.path).busy_timeout(PATIENCE).disable_statement_logging();
        let mut conn = options.connect().await.map_err(unusable)?;
        let mode = if place.network { "TRUNCATE" } else { "WAL" };
        // What was learned is on the disk when others are told so: they drop then what it was learned from, in files of their
        // own, which must not get ahead of this one when the machine loses its power. Commits are few: batches of seconds.
        let settings = format!("PRAGMA secure_delete = ON; PRAGMA journal_mode = {mode}; PRAGMA synchronous = FULL");
        let seal = Seal::new(&master.derive(KEYS));
        let format = prepare(&mut conn, place, &seal).await?;
        conn.execute(sqlx::AssertSqlSafe(settings)).await.map_err(unusable)?;
        let tokens = TokenKey::new(master.derive(TOKENS));
        let origin = tokens.token("store", &format!("{}:{}", machine(), place.path.display())).0 as u64;
        let mut learned =
            Self { conn, place: place.clone(), master, keys: BTreeMap::new(), tokens, origin, unreadable: 0 };
        learned.read_keys().await?;
        if learned.keys.is_empty() {
            // Two may open a new file at once: the second finds the key of the first.
            learned.begin().await?;
            if learned.keys.is_empty() {
                learned.new_key(day(now)).await?;
            }
            learned.execute("COMMIT").await?;
        }
        if format < FORMAT {
            learned.part_from_others().await?;
        }
        Ok(learned)
    }

    /// Returns what names become tokens with.
    pub fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// Returns what observations of this store are counted under.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// Returns how many records could not be opened so far: damaged, or of another key.
    pub fn unreadable(&self) -> u32 {
        self.unreadable
    }

    /// Looks up a signature on a class of hosts.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn get(&mut self, signature: &Signature, class: Token) -> Result<Option<Entry>, LearnedError> {
        let token = self.place_of(signature, class);
        self.read(token).await
    }

    /// Looks up a signature on several classes of hosts at once.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn get_on(&mut self, signature: &Signature, classes: &[Token]) -> Result<Vec<Entry>, LearnedError> {
        // All of one signature are like it. The index by that holds tokens alone and is small: what is not there is missed
        // without a look at the records, which lie a few to a page.
        let marks = vec!["?"; classes.len()].join(", ");
        let sql = format!("SELECT token, key, sealed FROM records WHERE likes = ? AND token IN ({marks})");
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
        query = query.bind(signature.likes(&self.tokens).0.to_be_bytes().to_vec());
        let of = signature.token(&self.tokens);
        for class in classes {
            query = query.bind(self.place_on(of, *class).0.to_be_bytes().to_vec());
        }
        let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = query.fetch_all(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        self.opened_all(rows).await
    }

    /// Looks up all signatures of the same programs, on all classes of hosts.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn likes(&mut self, signature: &Signature) -> Result<Vec<Entry>, LearnedError> {
        self.some_likes(signature, u32::MAX).await
    }

    /// Looks up so many signatures of the same programs, at most.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn some_likes(&mut self, signature: &Signature, most: u32) -> Result<Vec<Entry>, LearnedError> {
        let likes = signature.likes(&self.tokens).0.to_be_bytes().to_vec();
        let query =
            sqlx::query_as("SELECT token, key, sealed FROM records WHERE likes = ? LIMIT ?").bind(likes).bind(most);
        let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = query.fetch_all(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        self.opened_all(rows).await
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn all(&mut self) -> Result<Vec<Entry>, LearnedError> {
        let query = sqlx::query_as("SELECT token, key, sealed FROM records");
        let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = query.fetch_all(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        self.opened_all(rows).await
    }

    /// Returns how many records there are.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn count(&mut self) -> Result<u64, LearnedError> {
        let query = sqlx::query_as("SELECT count(*) FROM records");
        let (count,): (i64,) = query.fetch_one(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        Ok(count.unsigned_abs())
    }

    /// Learns from attempts, all of them or none; returns how many were new.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub async fn learn(&mut self, lessons: Vec<Lesson>, now: Timestamp) -> Result<u32, LearnedError> {
        let mut changes: HashMap<(Signature, Token), Vec<Observation>> = HashMap::new();
        for lesson in lessons {
            changes.entry((lesson.signature, lesson.class)).or_default().push(lesson.seen);
        }
        let origin = self.origin;
        let mut new = 0;
        self.begin().await?;
        for ((signature, class), seen) in changes {
            let token = self.place_of(&signature, class);
            let known = self.read(token).await?.map(|entry| entry.profile);
            let mut profile = known.unwrap_or_default();
            new += seen.into_iter().map(|seen| u32::from(profile.observe(origin, seen))).sum::<u32>();
            self.write(token, &Entry { signature, class, profile }, day(now)).await?;
        }
        self.execute("COMMIT").await?;
        Ok(new)
    }

    /// Writes all records to a file for other machines with the same key.
    ///
    /// # Errors
    /// When the store cannot be read, or the file cannot be written.
    pub async fn export(&mut self, path: &Path) -> Result<usize, LearnedError> {
        let all = self.all_dated().await?;
        let (exchange, aside) =
            (Exchange::new(&self.master), path.with_extension(format!("new-{}", std::process::id())));
        let mut options = std::fs::OpenOptions::new();
        let made = options.write(true).create(true).truncate(true).mode(0o600).open(&aside);
        let written = made.and_then(|file| {
            let mut out = std::io::BufWriter::new(file);
            exchange.write(&all, &mut out)?;
            out.get_ref().sync_all()?;
            std::fs::rename(&aside, path)
        });
        written.map(|()| all.len()).map_err(|source| {
            // Left behind, it would be in nobody's way.
            drop(std::fs::remove_file(&aside));
            LearnedError::File { path: path.to_path_buf(), source }
        })
    }

    /// Opens what another machine with the same key wrote; `shown` is what the file is called.
    ///
    /// # Errors
    /// When it was sealed with another key, is damaged, or cannot be read.
    pub fn open_exchange(&self, shown: &Path, input: &mut impl std::io::Read) -> Result<Vec<Dated>, LearnedError> {
        Exchange::new(&self.master).read(shown, &self.place.key, input)
    }

    /// Takes in records of another machine, in whatever order they come and however often; returns how many attempts it did not
    /// know of. What is known already stays as old as it is.
    ///
    /// # Errors
    /// When the file cannot be read or written. What was taken in so far is taken in.
    pub async fn take(&mut self, all: Vec<Dated>, now: Timestamp) -> Result<u32, LearnedError> {
        let mut new = 0;
        // In portions: judging models anew takes a while, in which others wait.
        for some in all.chunks(TAKEN) {
            self.begin().await?;
            for (added, entry) in some {
                let token = self.place_of(&entry.signature, entry.class);
                let known = self.read_dated(token).await?;
                let (mut since, known) = known.map_or((0, None), |(day, known)| (day, Some(known.profile)));
                if known.as_ref() == Some(&entry.profile) {
                    continue;
                }
                let mut profile = known.unwrap_or_default();
                let before = profile.summary().clone();
                // Also what is new here: the same of all machines is the same, whoever had it first.
                profile.merge(&entry.profile);
                if *profile.summary() != before {
                    since = since.max((*added).min(day(now)));
                }
                new += profile.summary().count().saturating_sub(before.count());
                let entry = Entry { signature: entry.signature.clone(), class: entry.class, profile };
                self.write(token, &entry, since).await?;
            }
            self.execute("COMMIT").await?;
        }
        Ok(new)
    }

    /// Puts the records of this machine under a class of its own.
    async fn part_from_others(&mut self) -> Result<(), LearnedError> {
        let (old, new) = (class_before(&self.tokens), class_of(HostName::LOCAL, &self.tokens));
        self.begin().await?;
        for entry in self.all().await? {
            if entry.class == old {
                let place = self.place_of(&entry.signature, old);
                let Some((day, entry)) = self.read_dated(place).await? else { continue };
                let query = sqlx::query("DELETE FROM records WHERE token = ?").bind(place.0.to_be_bytes().to_vec());
                query.execute(&mut self.conn).await.map_err(|e| self.unusable(e))?;
                self.write(self.place_of(&entry.signature, new), &Entry { class: new, ..entry }, day).await?;
            }
        }
        let mark = format!("PRAGMA user_version = {FORMAT}; COMMIT");
        self.conn.execute(sqlx::AssertSqlSafe(mark)).await.map(drop).map_err(|e| self.unusable(e))
    }

    /// Takes in records that were made of reports, whose jobs counted under the origins `before` once; each of these stands with the one that
    /// what is left of it counts under.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub async fn merge(
        &mut self,
        entries: Vec<Entry>,
        before: &[(u64, u64)],
        now: Timestamp,
    ) -> Result<(), LearnedError> {
        self.begin().await?;
        for entry in entries {
            let token = self.place_of(&entry.signature, entry.class);
            let merged = match self.read(token).await? {
                None => entry,
                Some(mut known) => {
                    known.profile.merge_anew(&entry.profile, before);
                    known
                }
            };
            self.write(token, &merged, day(now)).await?;
        }
        self.execute("COMMIT").await
    }

    /// Forgets records, by the end of the day on which something was added to them last, in minutes since 1970, and what they say; returns
    /// how many there were.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn forget(&mut self, which: impl Fn(u32, &Entry) -> bool) -> Result<u64, LearnedError> {
        let mut gone = 0;
        let minutes = |day: i64| u32::try_from(day.saturating_add(1).saturating_mul(1440)).unwrap_or_default();
        for (_, entry) in self.all_dated().await?.iter().filter(|(day, entry)| which(minutes(*day), entry)) {
            let token = self.place_of(&entry.signature, entry.class).0.to_be_bytes().to_vec();
            let query = sqlx::query("DELETE FROM records WHERE token = ?").bind(token);
            gone += query.execute(&mut self.conn).await.map_err(|e| self.unusable(e))?.rows_affected();
        }
        // What was deleted must not lie on in the log.
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        Ok(gone)
    }

    /// Does what a day asks for, a portion of it: a new data key, records that nothing was added to for `retention` days dropped,
    /// some old records sealed anew, and keys without records dropped.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn care(&mut self, now: Timestamp, retention: u32) -> Result<Cared, LearnedError> {
        let today = day(now);
        let newest: (i64,) = sqlx::query_as("SELECT coalesce(max(day), 0) FROM keys")
            .fetch_one(&mut self.conn)
            .await
            .map_err(|e| self.unusable(e))?;
        self.begin().await?;
        if newest.0 < today {
            self.new_key(today).await?;
        }
        let expired = sqlx::query("DELETE FROM records WHERE day < ?").bind(today - i64::from(retention));
        let expired = expired.execute(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        let mut cared = Cared { dropped: expired.rows_affected(), is_done: true };
        let current = self.keys.last_key_value().map_or(0, |(id, _)| *id);
        let old = sqlx::query_as("SELECT token, key, day, sealed FROM records WHERE key <> ? LIMIT ?");
        let rows: Vec<(Vec<u8>, i64, i64, Vec<u8>)> =
            old.bind(current).bind(RESEALED).fetch_all(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        cared.is_done = (rows.len() as i64) < RESEALED;
        for (token, key, day, sealed) in rows {
            if let Some(entry) = self.opened(&token, key, &sealed) {
                self.write(self.place_of(&entry.signature, entry.class), &entry, day).await?;
            } else {
                let query = sqlx::query("DELETE FROM records WHERE token = ?").bind(token);
                query.execute(&mut self.conn).await.map_err(|e| self.unusable(e))?;
                cared.dropped += 1;
            }
        }
        let unused =
            sqlx::query("DELETE FROM keys WHERE id <> ? AND id NOT IN (SELECT key FROM records)").bind(current);
        unused.execute(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        self.execute("COMMIT").await?;
        Ok(cared)
    }

    /// Closes it, which brings the log into the file.
    pub async fn close(self) {
        if let Err(error) = self.conn.close().await {
            tracing::debug!(%error, "what was learned is not closed cleanly");
        }
    }

    /// Returns the numbers of the keys that records are sealed with.
    #[cfg(test)]
    pub(crate) async fn sealed_with(&mut self) -> Result<Vec<i64>, LearnedError> {
        let rows: Vec<(i64,)> = sqlx::query_as("SELECT DISTINCT key FROM records ORDER BY key")
            .fetch_all(&mut self.conn)
            .await
            .map_err(|e| self.unusable(e))?;
        Ok(rows.into_iter().map(|(key,)| key).collect())
    }

    #[cfg(test)]
    pub(super) fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    fn place_of(&self, signature: &Signature, class: Token) -> Token {
        self.place_on(signature.token(&self.tokens), class)
    }

    /// Returns where the record of a signature is, which its token stands for.
    fn place_on(&self, signature: Token, class: Token) -> Token {
        place_on(signature, class, &self.tokens)
    }

    async fn begin(&mut self) -> Result<(), LearnedError> {
        self.execute("BEGIN IMMEDIATE").await?;
        // Another process may have begun a day.
        self.read_keys().await
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), LearnedError> {
        self.conn.execute(sql).await.map(drop).map_err(|e| self.unusable(e))
    }

    async fn read(&mut self, token: Token) -> Result<Option<Entry>, LearnedError> {
        Ok(self.read_dated(token).await?.map(|(_, entry)| entry))
    }

    /// Reads a record, and the day on which something was added to it last.
    async fn read_dated(&mut self, token: Token) -> Result<Option<Dated>, LearnedError> {
        let token = token.0.to_be_bytes().to_vec();
        let query = sqlx::query_as("SELECT key, sealed, day FROM records WHERE token = ?").bind(token.clone());
        let row: Option<(i64, Vec<u8>, i64)> =
            query.fetch_optional(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        let Some((key, sealed, day)) = row else { return Ok(None) };
        Ok(self.opened_all(vec![(token, key, sealed)]).await?.pop().map(|entry| (day, entry)))
    }

    /// Reads everything, each with the day on which something was added to it last.
    async fn all_dated(&mut self) -> Result<Vec<Dated>, LearnedError> {
        let query = sqlx::query_as("SELECT token, key, sealed, day FROM records ORDER BY token");
        let rows: Vec<(Vec<u8>, i64, Vec<u8>, i64)> =
            query.fetch_all(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        if rows.iter().any(|(_, key, ..)| !self.keys.contains_key(key)) {
            self.read_keys().await?;
        }
        let opened =
            rows.into_iter().filter_map(|(token, key, sealed, day)| Some((day, self.opened(&token, key, &sealed)?)));
        Ok(opened.collect())
    }

    async fn write(&mut self, token: Token, entry: &Entry, day: i64) -> Result<(), LearnedError> {
        let token = token.0.to_be_bytes().to_vec();
        let likes = entry.signature.likes(&self.tokens).0.to_be_bytes().to_vec();
        let bytes = record::write(entry, entry).unwrap_or_default();
        let newest =
            self.keys.last_key_value().and_then(|(id, seal)| Some((*id, seal.seal(&at(&token, *id), &bytes)?)));
        let Some((key, sealed)) = newest else { return Err(self.no_random()) };
        sqlx::query(
            "INSERT INTO records (token, likes, key, day, sealed) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (token) DO UPDATE SET key = excluded.key, day = excluded.day, sealed = excluded.sealed",
        )
        .bind(token)
        .bind(likes)
        .bind(key)
        .bind(day)
        .bind(sealed)
        .execute(&mut self.conn)
        .await
        .map(drop)
        .map_err(|e| self.unusable(e))
    }

    async fn opened_all(&mut self, rows: Vec<(Vec<u8>, i64, Vec<u8>)>) -> Result<Vec<Entry>, LearnedError> {
        // Another process, or another task of this one, may have begun a day since the keys were read.
        if rows.iter().any(|(_, key, _)| !self.keys.contains_key(key)) {
            self.read_keys().await?;
        }
        Ok(rows.into_iter().filter_map(|(token, key, sealed)| self.opened(&token, key, &sealed)).collect())
    }

    fn opened(&mut self, token: &[u8], key: i64, sealed: &[u8]) -> Option<Entry> {
        let bytes = self.keys.get(&key).and_then(|seal| seal.open(&at(token, key), sealed));
        let entry = bytes.and_then(|bytes| record::read(&bytes, |entry| entry));
        self.unreadable += u32::from(entry.is_none());
        entry
    }

    async fn read_keys(&mut self) -> Result<(), LearnedError> {
        let query = sqlx::query_as("SELECT id, wrapped FROM keys");
        let rows: Vec<(i64, Vec<u8>)> = query.fetch_all(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        let master = Seal::new(&self.master.derive(KEYS));
        for (id, wrapped) in rows {
            let opened = master.open(&id.to_be_bytes(), &wrapped).and_then(|key| <[u8; 32]>::try_from(key).ok());
            if let Some(key) = opened {
                self.keys.insert(id, Seal::new(&key));
            }
        }
        Ok(())
    }

    async fn new_key(&mut self, day: i64) -> Result<(), LearnedError> {
        let id = self.keys.last_key_value().map_or(1, |(id, _)| id + 1);
        let made = random::<32>().and_then(|key| {
            let wrapped = Seal::new(&self.master.derive(KEYS)).seal(&id.to_be_bytes(), &key)?;
            Some((key, wrapped))
        });
        let Some((key, wrapped)) = made else { return Err(self.no_random()) };
        let query =
            sqlx::query("INSERT INTO keys (id, day, wrapped) VALUES (?, ?, ?)").bind(id).bind(day).bind(wrapped);
        query.execute(&mut self.conn).await.map_err(|e| self.unusable(e))?;
        self.keys.insert(id, Seal::new(&key));
        Ok(())
    }

    fn unusable(&self, source: sqlx::Error) -> LearnedError {
        LearnedError::Unusable { path: self.place.path.clone(), source }
    }

    fn no_random(&self) -> LearnedError {
        LearnedError::Key { key: self.place.key.clone(), detail: "the system has no random numbers" }
    }
}

/// Makes the tables of an empty file; of another, checks that it is ours and that the key opens it.
async fn prepare(conn: &mut SqliteConnection, place: &Place, seal: &Seal) -> Result<i64, LearnedError> {
    let unusable = |source| LearnedError::Unusable { path: place.path.clone(), source };
    let marks =
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
                 (SELECT count(*) FROM sqlite_schema)";
    let found: (i64, i64, i64) = sqlx::query_as(marks).fetch_one(&mut *conn).await.map_err(unusable)?;
    if found == (0, 0, 0) {
        conn.execute("BEGIN EXCLUSIVE").await.map_err(unusable)?;
        conn.execute(TABLES).await.map_err(unusable)?;
        let random = || LearnedError::Key { key: place.key.clone(), detail: "the system has no random numbers" };
        let check = seal.seal(b"check", CHECK).ok_or_else(random)?;
        let query = sqlx::query("INSERT INTO checks (id, sealed) VALUES (1, ?)").bind(check);
        query.execute(&mut *conn).await.map_err(unusable)?;
        let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT");
        return conn.execute(sqlx::AssertSqlSafe(marks)).await.map(|_| FORMAT).map_err(unusable);
    }
    if found.0 != APPLICATION_ID || !(OLDEST..=FORMAT).contains(&found.1) {
        return Err(LearnedError::Foreign { path: place.path.clone() });
    }
    let check: Option<(Vec<u8>,)> =
        sqlx::query_as("SELECT sealed FROM checks WHERE id = 1").fetch_optional(conn).await.map_err(unusable)?;
    let opens = check.and_then(|(sealed,)| seal.open(b"check", &sealed)).is_some_and(|check| check == CHECK);
    if opens { Ok(found.1) } else { Err(LearnedError::WrongKey { path: place.path.clone(), key: place.key.clone() }) }
}

/// Returns where the record of a signature is, which its token stands for.
pub(super) fn place_on(signature: Token, class: Token, key: &TokenKey) -> Token {
    key.token("record", &format!("{:032x}{:032x}", signature.0, class.0))
}

/// What a record is bound to: it opens nowhere else.
fn at(token: &[u8], key: i64) -> Vec<u8> {
    [token, &key.to_be_bytes()].concat()
}

fn day(now: Timestamp) -> i64 {
    now.0 / 86_400_000_000
}
