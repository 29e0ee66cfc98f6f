-- What was chosen for an attempt by what was learned, and where it was placed among which hosts: JSON; none where a person said it.
ALTER TABLE attempts ADD COLUMN choice TEXT;
