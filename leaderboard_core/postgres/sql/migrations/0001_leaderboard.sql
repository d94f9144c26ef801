-- One row per player of this region, and the passwords of the accounts that have one.
CREATE TABLE IF NOT EXISTS leaderboard (
    user_id    TEXT PRIMARY KEY,
    name       VARCHAR(200) NOT NULL,
    region     VARCHAR(50)  NOT NULL,
    score      BIGINT       NOT NULL DEFAULT 0,
    updated_at TIMESTAMP    DEFAULT (NOW() AT TIME ZONE 'UTC')
);

-- user_id in byte order: the order of a sorted set, whatever the database's locale is.
CREATE INDEX IF NOT EXISTS leaderboard_region_score ON leaderboard (region, score DESC, user_id COLLATE "C" DESC);
CREATE INDEX IF NOT EXISTS leaderboard_name ON leaderboard (name);

CREATE TABLE IF NOT EXISTS accounts (
    user_id       TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    created_at    TIMESTAMP NOT NULL DEFAULT (NOW() AT TIME ZONE 'UTC')
);
