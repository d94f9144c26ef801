-- The admission of each region's Redis, which every upsert names: one that names an earlier one changes nothing. And the
-- last Idempotency-Key of a player: hash of subject and key, fingerprint of the request, whether it made the player, and
-- the µs of the write, which count only while they are the row's.
CREATE TABLE IF NOT EXISTS admissions (
    region      TEXT PRIMARY KEY,
    nonce       TEXT NOT NULL,
    admitted_at TIMESTAMP NOT NULL DEFAULT (NOW() AT TIME ZONE 'UTC')
);

ALTER TABLE leaderboard ADD COLUMN IF NOT EXISTS last_key TEXT NOT NULL DEFAULT '';
