-- What a rebuild asks for after a restart of Redis: the entries that changed after a moment, page by page.
CREATE INDEX CONCURRENTLY entries_updated_at ON entries (updated_at, user_id, board_id, board_window);
