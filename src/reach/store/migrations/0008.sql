-- Directories that hold copies of named datasets, in the order in which they were named: the first one seen says what the
-- dataset is.
CREATE TABLE datasets (
    name    TEXT NOT NULL,
    host    TEXT NOT NULL,
    path    TEXT NOT NULL,
    looked  INTEGER,
    trouble TEXT,                       -- JSON
    listing BLOB NOT NULL,
    UNIQUE (name, host, path)
) STRICT;
