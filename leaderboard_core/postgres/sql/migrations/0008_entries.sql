-- Where players stand on boards other than main, and in main's windows other than all. A removed entry's row stays: what
-- is older than base_at, whenever it comes, must not bring it back.
CREATE TABLE IF NOT EXISTS entries (
    user_id      TEXT        NOT NULL,
    board_id     BIGINT      NOT NULL,
    board_window TEXT        NOT NULL,
    region       VARCHAR(50) NOT NULL,
    key          BIGINT      NOT NULL,
    member       TEXT        COLLATE "C" NOT NULL,
    updated_at   TIMESTAMP   NOT NULL,
    submits      INTEGER     NOT NULL DEFAULT 0,
    base_at      TIMESTAMP,
    best         BOOLEAN     NOT NULL DEFAULT FALSE,
    removed      BOOLEAN     NOT NULL DEFAULT FALSE,
    metadata     TEXT        NOT NULL DEFAULT '',
    PRIMARY KEY (user_id, board_id, board_window)
);
