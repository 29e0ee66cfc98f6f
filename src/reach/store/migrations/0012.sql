-- Of which state of how fast files moved something is a digest.
INSERT INTO versions (name, version) VALUES ('rates', abs(random() / 2));
CREATE TRIGGER rates_added AFTER INSERT ON rates BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'rates';
END;
CREATE TRIGGER rates_changed AFTER UPDATE ON rates BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'rates';
END;
CREATE TRIGGER rates_dropped AFTER DELETE ON rates BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'rates';
END;
