-- How long attempts waited on hosts, the newest first. Those of this machine are not in it.
CREATE INDEX waits ON attempts (submitted, host, started) WHERE host IS NOT NULL AND started IS NOT NULL;
