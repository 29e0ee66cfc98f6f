-- Files of workflows that lie on hosts, where a task left them or where they were moved.
CREATE TABLE replicas (
    root  TEXT NOT NULL,                -- the workflow's directory here
    path  TEXT NOT NULL,
    host  TEXT NOT NULL,
    place TEXT NOT NULL,                -- what stands for `root` there
    size  INTEGER NOT NULL,
    mtime INTEGER NOT NULL,             -- seconds since 1970
    at    INTEGER NOT NULL,
    PRIMARY KEY (root, path, host)
) STRICT, WITHOUT ROWID;

-- How fast files moved.
CREATE TABLE rates (
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    rate   REAL NOT NULL,               -- bytes per second
    bytes  INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (source, target)
) STRICT, WITHOUT ROWID;

-- Whether hosts see directories of this machine.
CREATE TABLE shared (
    host      TEXT NOT NULL,
    directory TEXT NOT NULL,
    seen      INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (host, directory)
) STRICT, WITHOUT ROWID;
