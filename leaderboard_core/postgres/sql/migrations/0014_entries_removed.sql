-- Removed entries by board: the index of a board's order leaves them out, and they go with their board.
CREATE INDEX CONCURRENTLY entries_removed ON entries (board_id, user_id) WHERE removed;
