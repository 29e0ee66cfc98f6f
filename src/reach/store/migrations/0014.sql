-- How long jobs waited on hosts that csync did not submit, as accounting records told; of each queue the newest.
CREATE TABLE waited (
    host      TEXT NOT NULL,
    job       TEXT NOT NULL,            -- the batch system's id of the submission
    partition TEXT,
    submitted INTEGER NOT NULL,         -- microseconds since 1970, of when it could have started first
    started   INTEGER NOT NULL,
    cpus      INTEGER NOT NULL,
    time      INTEGER,                  -- seconds that it asked for
    UNIQUE (host, job, submitted)
) STRICT;
CREATE INDEX waited_newest ON waited (submitted, host, started, partition, cpus, time);
