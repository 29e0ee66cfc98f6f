-- What is here and was brought to hosts for tasks to read, or fetched from them, and how it was then: it need not move there again.
CREATE TABLE brought (
    root  TEXT NOT NULL,
    path  TEXT NOT NULL,
    host  TEXT NOT NULL,
    size  INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (root, path, host)
) STRICT, WITHOUT ROWID;
