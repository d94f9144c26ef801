-- The order of a board: that of a sorted set, by key and then by member in byte order.
CREATE INDEX CONCURRENTLY entries_order ON entries (board_id, board_window, region, key DESC, member DESC) WHERE NOT removed;
