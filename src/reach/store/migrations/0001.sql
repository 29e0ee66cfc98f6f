-- Append-only: a format that was released is never edited here; what changes comes as the next file.

-- What wrote this database, for people and for versions to come: `csync_version`.
CREATE TABLE about (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: the number of a run that was deleted is never given again, since people wrote it down.
CREATE TABLE runs (
    run       INTEGER PRIMARY KEY AUTOINCREMENT,
    name      TEXT NOT NULL,
    path      TEXT,
    root      TEXT NOT NULL,
    command   TEXT,
    workflow  BLOB NOT NULL,            -- key of its memos: hash of root and name
    state     TEXT NOT NULL,            -- active, succeeded, failed, cancelled
    halt      TEXT NOT NULL,            -- going, stopped, cancelled
    submitted INTEGER NOT NULL,         -- times are microseconds since 1970 UTC
    ended     INTEGER,
    counts    TEXT,                     -- JSON: instances by state, once it is over
    umask     INTEGER NOT NULL,
    version   TEXT NOT NULL             -- csync's version that took it
) STRICT;

CREATE INDEX runs_active ON runs (run) WHERE state = 'active';

-- Apart from `runs`, so that listing runs does not read past them. Blobs start with a version byte.
CREATE TABLE plans (
    run      INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
    plan     BLOB NOT NULL,
    verdicts BLOB NOT NULL,             -- one byte per instance
    reasons  BLOB NOT NULL,
    text     TEXT NOT NULL,             -- the workflow as submitted
    env      BLOB NOT NULL
) STRICT;

CREATE TABLE attempts (
    run       INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    instance  INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    worker    INTEGER,                  -- who it was handed to; none when it was refused before that
    cpus      INTEGER,
    mem       INTEGER,
    enforced  INTEGER,
    time      INTEGER,
    gpus      INTEGER,
    submitted INTEGER,
    started   INTEGER,
    ended     INTEGER,
    outcome   TEXT,                     -- class; none while it is in flight
    code      INTEGER,
    signal    INTEGER,
    message   TEXT,
    wall      REAL,                     -- seconds
    user      REAL,
    system    REAL,
    peak      INTEGER,                  -- bytes
    meter     TEXT,
    follow    INTEGER,                  -- 0 nothing; else another attempt, not before this time
    notes     TEXT,                     -- JSON list
    PRIMARY KEY (run, instance, attempt)
) STRICT, WITHOUT ROWID;

-- Instances settled without an attempt, or by a person, oldest first.
CREATE TABLE marks (
    id        INTEGER PRIMARY KEY,
    run       INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    mark      TEXT NOT NULL,
    instances BLOB NOT NULL             -- version byte, then pairs of instance and attempts it had
) STRICT;

CREATE INDEX marks_of_run ON marks (run);

-- What need not run again, per workflow: chunks, later ones win.
CREATE TABLE memos (
    id       INTEGER PRIMARY KEY,
    workflow BLOB NOT NULL,
    chunk    BLOB NOT NULL              -- version byte, then memos
) STRICT;

CREATE INDEX memos_of_workflow ON memos (workflow);

-- What a person would want to know later of a run or of the engine.
CREATE TABLE events (
    id   INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    run  INTEGER,
    what TEXT NOT NULL
) STRICT;

CREATE INDEX events_of_run ON events (run);
