-- Attempts that ended and of which it is not known yet that they were learned from: a JSON list for each turn of the engine's
-- loop, of [turn, run, instance, attempt, bytes of inputs]. Dropped once what was learned of them is on the disk.
CREATE TABLE untaught (
    turn    INTEGER PRIMARY KEY,
    lessons TEXT NOT NULL
) STRICT;
