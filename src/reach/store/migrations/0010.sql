-- Of which state of a table something is a digest that lies beside this file. Counted from a number of its own, which no other
-- database has.
CREATE TABLE versions (
    name    TEXT PRIMARY KEY,           -- the table
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO versions (name, version) VALUES ('hosts', abs(random() / 2));
CREATE TRIGGER hosts_added AFTER INSERT ON hosts BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'hosts';
END;
CREATE TRIGGER hosts_changed AFTER UPDATE ON hosts BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'hosts';
END;
CREATE TRIGGER hosts_dropped AFTER DELETE ON hosts BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'hosts';
END;
