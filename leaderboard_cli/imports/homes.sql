-- The statements of homes.py, for SQLite, in the order in which it names them.

CREATE TABLE homes (user_id TEXT PRIMARY KEY, region TEXT NOT NULL) WITHOUT ROWID;

-- ?1 user_ids as JSON. Result: user_id, region, of those that are known
SELECT user_id, region FROM homes WHERE user_id IN (SELECT value FROM json_each(?1));

-- ?1 user_id, ?2 region. One that is known stays
INSERT OR IGNORE INTO homes VALUES (?1, ?2);
