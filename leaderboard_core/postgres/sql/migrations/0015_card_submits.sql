-- What a player's card says of its score on the main board beside it: how many submits have been taken of it, where
-- those are counted, and the JSON object that came with the score that stands.
ALTER TABLE leaderboard ADD COLUMN IF NOT EXISTS submits INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS metadata TEXT NOT NULL DEFAULT '';
