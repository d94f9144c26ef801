-- Whether the player's account has a password: said by the event that made the player, not by the presence of a
-- row in accounts, which a registration that died half-way may have left for a user_id that is somebody else's now.
ALTER TABLE leaderboard ADD COLUMN IF NOT EXISTS protected BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE leaderboard SET protected = TRUE FROM accounts WHERE accounts.user_id = leaderboard.user_id;
