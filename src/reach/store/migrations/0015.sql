-- Where a batch system ran an attempt and what it granted it there, as JSON; NULL before it is over, and of older ones.
ALTER TABLE attempts ADD COLUMN allocation TEXT;
