-- `--ahead`: whether layers of it are handed over before what they wait for is over.
ALTER TABLE runs ADD COLUMN ahead INTEGER NOT NULL DEFAULT 0;
