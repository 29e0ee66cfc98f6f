-- Bytes that an attempt read and wrote, and what of that was counted; all NULL where nobody counted.
ALTER TABLE attempts ADD COLUMN read INTEGER;
ALTER TABLE attempts ADD COLUMN written INTEGER;
ALTER TABLE attempts ADD COLUMN flow TEXT;
