-- What probes found on hosts.
CREATE TABLE hosts (
    host    TEXT PRIMARY KEY,
    at      INTEGER,                    -- when the facts were seen
    facts   TEXT,                       -- JSON
    failure TEXT                        -- JSON: the last probe, when that came to nothing
) STRICT, WITHOUT ROWID;
