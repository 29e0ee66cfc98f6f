-- The partition that an attempt on a batch system was submitted to, as far as csync chose it or was told.
ALTER TABLE attempts ADD COLUMN partition TEXT;
-- How long attempts waited in which queue, and what they asked for, the newest first.
DROP INDEX waits;
CREATE INDEX waits ON attempts (submitted, host, started, partition, cpus, time) WHERE host IS NOT NULL AND started IS NOT NULL;
