-- Boards that are gone, in GLOBAL's database, until and after their entries are. An id is never used again, while the name
-- may be. claimed_until: a worker takes the entries away until then; swept_at: since when none was found any more.
CREATE TABLE IF NOT EXISTS dead_boards (
    id            BIGINT PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL,
    rules         TEXT NOT NULL,
    gone_at       TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    claimed_until TIMESTAMP,
    swept_at      TIMESTAMP
);
