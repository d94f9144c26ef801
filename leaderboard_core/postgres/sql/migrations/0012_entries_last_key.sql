-- Hash of the Idempotency-Key of an entry's last write and fingerprint of its request: whatever else is lost, the same
-- request is not done twice.
ALTER TABLE entries ADD COLUMN IF NOT EXISTS last_key TEXT NOT NULL DEFAULT '';
