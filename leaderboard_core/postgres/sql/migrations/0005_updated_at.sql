-- What a rebuild asks for after a restart of Redis: the rows that changed after a moment, page by page.
CREATE INDEX CONCURRENTLY leaderboard_updated_at ON leaderboard (updated_at, user_id);
