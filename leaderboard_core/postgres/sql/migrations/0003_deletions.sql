-- Players who were deleted, and when: an event from before that, whenever it comes, must not bring the row back.
-- Tokens from before the deletion may live until tokens_until.
CREATE TABLE IF NOT EXISTS deleted_players (
    user_id      TEXT PRIMARY KEY,
    deleted_at   TIMESTAMP NOT NULL,
    tokens_until TIMESTAMP NOT NULL
);

CREATE INDEX IF NOT EXISTS deleted_players_deleted_at ON deleted_players (deleted_at);
