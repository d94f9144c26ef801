-- Who made the player, and the hash of its secret, if it has one; empty for players from before.
ALTER TABLE leaderboard ADD COLUMN IF NOT EXISTS credential TEXT NOT NULL DEFAULT '';
