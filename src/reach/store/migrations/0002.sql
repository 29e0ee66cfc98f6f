-- Hosts: where an attempt was handed to, by name; none is this machine.
ALTER TABLE attempts ADD COLUMN host TEXT;

-- What was sent, or was about to be sent, to a host and is not over: a job, an array or a pack. Written before it goes out, so
-- that the next engine asks the host for the name before it sends anything again.
CREATE TABLE submissions (
    name    TEXT PRIMARY KEY,           -- its job name there
    host    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    batch   TEXT,                       -- the batch system's id, once it is known
    members TEXT NOT NULL               -- JSON list of the members' attempts, in their order
) STRICT, WITHOUT ROWID;
