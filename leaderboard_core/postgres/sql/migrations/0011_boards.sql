-- The definitions of boards, in GLOBAL's database; the table of the others stays empty. A name whose board is gone keeps
-- its row. everywhere_at: since when every Redis has that version, NULL while one may not.
CREATE TABLE IF NOT EXISTS boards (
    name          TEXT COLLATE "C" PRIMARY KEY,
    id            BIGINT  NOT NULL UNIQUE,
    version       BIGINT  NOT NULL,
    gone          BOOLEAN NOT NULL DEFAULT FALSE,
    rules         TEXT    NOT NULL,
    everywhere_at TIMESTAMP
);

-- A board's id is never used again; the main board has 0.
CREATE SEQUENCE IF NOT EXISTS board_ids AS BIGINT START 1;
