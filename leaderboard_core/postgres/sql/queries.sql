-- Every statement of the system. Times travel as µs since the epoch (BIGINT) and are stored as UTC.

-- name: create_migrations_table
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at TIMESTAMP NOT NULL DEFAULT (NOW() AT TIME ZONE 'UTC')
)

-- name: applied_migrations
-- Result: version
SELECT version FROM schema_migrations ORDER BY version

-- name: record_migration
-- $1 version, $2 name, $3 holder. Result: TRUE, or nothing when somebody else has taken the lease over
INSERT INTO schema_migrations (version, name)
SELECT $1::integer, $2::text FROM migration_lease WHERE holder = $3::text FOR SHARE
RETURNING TRUE

-- name: create_migration_lease
-- A row while somebody migrates. A lease and no session lock: a pooler in transaction mode keeps none.
CREATE TABLE IF NOT EXISTS migration_lease (
    one        BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    holder     TEXT NOT NULL,
    step       TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL
)

-- name: take_migration_lease
-- $1 holder, $2 seconds. Result: TRUE, or nothing when another's has not expired
INSERT INTO migration_lease (holder, step, expires_at)
VALUES ($1::text, 'begins', clock_timestamp() + $2::float8 * INTERVAL '1 second')
ON CONFLICT (one) DO UPDATE SET holder = EXCLUDED.holder, step = EXCLUDED.step, expires_at = EXCLUDED.expires_at
WHERE migration_lease.expires_at <= clock_timestamp()
RETURNING TRUE

-- name: shorten_migration_lease
-- $1 seconds of a whole lease: one that ends later was taken before the server's clock stepped back
UPDATE migration_lease SET expires_at = clock_timestamp() + $1::float8 * INTERVAL '1 second'
WHERE expires_at > clock_timestamp() + $1::float8 * INTERVAL '1 second'

-- name: renew_migration_lease
-- $1 holder, $2 seconds, $3 step. Result: TRUE, or nothing when somebody else has taken it over
UPDATE migration_lease SET expires_at = clock_timestamp() + $2::float8 * INTERVAL '1 second', step = $3::text
WHERE holder = $1::text
RETURNING TRUE

-- name: release_migration_lease
-- $1 holder
DELETE FROM migration_lease WHERE holder = $1::text

-- name: read_migration_lease
-- Result: holder, step
SELECT holder, step FROM migration_lease

-- name: try_older_migrations_lock
-- $1 key of the advisory lock under which versions before the lease migrate; held until the transaction ends
-- Result: NULL, or who has it
SELECT CASE WHEN NOT pg_try_advisory_xact_lock($1::bigint) THEN COALESCE((
    SELECT string_agg(format('pid %s', pid), ', ') FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid = ($1::bigint >> 32)::oid AND objid = ($1::bigint & 4294967295)::oid
), 'it has just ended') END

-- name: limit_lock_waits
-- $1 such as '2s', $2 whether until the transaction ends, else until the session does
SELECT set_config('lock_timeout', $1, $2)

-- name: lift_statement_limit
-- $1 as $2 of limit_lock_waits: a server may limit a statement's whole time for requests
SELECT set_config('statement_timeout', '0', $1)

-- name: migration_progress
-- $1 pid of the migrating session. Result: phase and percent of its index build (NULL when it builds none), and who
-- holds the lock that it waits for (NULL when it waits for none)
SELECT build.phase,
       CASE WHEN build.phase LIKE '%loading tuples%' THEN 100 * build.tuples_done / NULLIF(build.tuples_total, 0)
            ELSE 100 * build.blocks_done / NULLIF(build.blocks_total, 0) END AS percent,
       (SELECT string_agg(format('%s (pid %s)', COALESCE(NULLIF(application_name, ''), usename, 'a session'), pid), ', ')
        FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids($1::integer))) AS waits_for
FROM (VALUES ($1::integer)) AS session (pid)
LEFT JOIN pg_stat_progress_create_index AS build ON build.pid = session.pid

-- name: index_state
-- $1 name. Result: valid (NULL when there is none), pid of the session that builds it (NULL when none does)
SELECT pg_index.indisvalid AS valid, build.pid AS builder
FROM (VALUES (to_regclass($1))) AS wanted (id)
LEFT JOIN pg_index ON pg_index.indexrelid = wanted.id
LEFT JOIN pg_stat_progress_create_index AS build ON build.index_relid = wanted.id

-- name: long_transactions
-- $1 seconds. Result: the sessions whose transaction is older and holds a snapshot; NULL when there are none
SELECT string_agg(format('%s (pid %s)', COALESCE(NULLIF(application_name, ''), usename, 'a session'), pid), ', ')
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND backend_xmin IS NOT NULL
  AND xact_start < clock_timestamp() - $1::float8 * INTERVAL '1 second'

-- name: database_exists
-- $1 name
SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)

-- name: upsert_scores
-- $1 user_ids, $2 names, $3 regions, $4 scores, $5 µs, $6 protected, $7 last keys, $8 credentials, $9 submits,
-- $10 metadata: arrays of one length, each user_id once.
-- An event that is not newer than the row, or than the player's deletion, changes nothing, so events may come twice or
-- out of order. A player's deletion is looked up only for events that are not newer than the last deletion of all.
INSERT INTO leaderboard (user_id, name, region, score, updated_at, protected, last_key, credential, submits, metadata)
SELECT user_id, name, region, score, TIMESTAMP 'epoch' + micros * INTERVAL '1 microsecond', protected, last_key,
       credential, submits, metadata
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::text[], $8::text[],
            $9::integer[], $10::text[])
     AS event (user_id, name, region, score, micros, protected, last_key, credential, submits, metadata)
WHERE event.micros > (
        SELECT COALESCE((EXTRACT(EPOCH FROM max(deleted_at)) * 1000000)::bigint, -1) FROM deleted_players
    )
    OR NOT EXISTS (
        SELECT 1 FROM deleted_players
        WHERE deleted_players.user_id = event.user_id
          AND deleted_players.deleted_at >= TIMESTAMP 'epoch' + event.micros * INTERVAL '1 microsecond'
    )
ON CONFLICT (user_id) DO UPDATE
SET name = EXCLUDED.name, region = EXCLUDED.region, score = EXCLUDED.score, updated_at = EXCLUDED.updated_at,
    protected = EXCLUDED.protected, last_key = EXCLUDED.last_key,
    -- Services of an earlier version write events without one; only a deletion removes it.
    credential = COALESCE(NULLIF(EXCLUDED.credential, ''), leaderboard.credential),
    submits = GREATEST(EXCLUDED.submits, leaderboard.submits), metadata = EXCLUDED.metadata
WHERE leaderboard.updated_at IS NULL OR leaderboard.updated_at < EXCLUDED.updated_at

-- name: raise_submits
-- $1 user_ids, $2 submits, $3 µs: arrays of one length. Of submits the greater number counts, also where an event is older
-- than the row; not those of a predecessor who was deleted.
UPDATE leaderboard SET submits = event.submits
FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS event (user_id, submits, micros)
WHERE leaderboard.user_id = event.user_id AND leaderboard.submits < event.submits
  AND NOT EXISTS (
        SELECT 1 FROM deleted_players
        WHERE deleted_players.user_id = event.user_id
          AND deleted_players.deleted_at >= TIMESTAMP 'epoch' + event.micros * INTERVAL '1 microsecond'
    )

-- name: upsert_entries
-- $1 user_ids, $2 board_ids, $3 windows, $4 regions, $5 keys, $6 members, $7 µs, $8 submits, $9 µs before which nothing
-- counts any more (0 for never), $10 whether the better counts and not the later, $11 removed, $12 metadata,
-- $13 last keys: arrays of one length, each entry once.
-- Of a row and an event, or of two, the state that ORDER BY puts first stands, as leaderboard_core/entries.py has it; the
-- WHERE before leaves out what comes twice. Deletions are looked up as by upsert_scores.
INSERT INTO entries (user_id, board_id, board_window, region, key, member, updated_at, submits, base_at, best, removed,
                     metadata, last_key)
SELECT user_id, board_id, board_window, region, key, member, TIMESTAMP 'epoch' + micros * INTERVAL '1 microsecond',
       submits, TIMESTAMP 'epoch' + NULLIF(base_micros, 0) * INTERVAL '1 microsecond', best, removed, metadata, last_key
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::integer[],
            $9::bigint[], $10::boolean[], $11::boolean[], $12::text[], $13::text[])
     AS event (user_id, board_id, board_window, region, key, member, micros, submits, base_micros, best, removed,
               metadata, last_key)
WHERE event.micros > (
        SELECT COALESCE((EXTRACT(EPOCH FROM max(deleted_at)) * 1000000)::bigint, -1) FROM deleted_players
    )
    OR NOT EXISTS (
        SELECT 1 FROM deleted_players
        WHERE deleted_players.user_id = event.user_id
          AND deleted_players.deleted_at >= TIMESTAMP 'epoch' + event.micros * INTERVAL '1 microsecond'
    )
ON CONFLICT (user_id, board_id, board_window) DO UPDATE
SET (region, key, member, updated_at, submits, base_at, best, removed, metadata, last_key) = (
    SELECT region, key, member, updated_at, GREATEST(entries.submits, EXCLUDED.submits),
           GREATEST(entries.base_at, EXCLUDED.base_at), best, removed, metadata, last_key
    FROM (VALUES
        (EXCLUDED.region, EXCLUDED.key, EXCLUDED.member, EXCLUDED.updated_at, EXCLUDED.best, EXCLUDED.removed,
         EXCLUDED.metadata, EXCLUDED.last_key, FALSE),
        (entries.region, entries.key, entries.member, entries.updated_at, entries.best, entries.removed,
         entries.metadata, entries.last_key, TRUE)
    ) AS state (region, key, member, updated_at, best, removed, metadata, last_key, kept)
    ORDER BY state.updated_at >= COALESCE(GREATEST(entries.base_at, EXCLUDED.base_at), '-infinity') DESC,
             NOT state.removed DESC,
             CASE WHEN entries.best AND EXCLUDED.best THEN state.key END DESC,
             CASE WHEN entries.best AND EXCLUDED.best THEN state.member END DESC,
             state.updated_at DESC, state.kept DESC
    LIMIT 1
)
WHERE EXCLUDED.updated_at > entries.updated_at
   OR EXCLUDED.submits > entries.submits
   OR EXCLUDED.base_at > COALESCE(entries.base_at, '-infinity')
   OR (EXCLUDED.updated_at >= COALESCE(entries.base_at, '-infinity')
       AND (entries.removed > EXCLUDED.removed
            OR (EXCLUDED.best AND (EXCLUDED.key, EXCLUDED.member) > (entries.key, entries.member))))

-- name: hold_admission
-- $1 region, or part of one, $2 nonce, $3 as limit_idle. Result: TRUE while that is its admission, which stays so until the
-- transaction ends
SELECT set_config('idle_in_transaction_session_timeout', $3, TRUE) IS NOT NULL
FROM admissions WHERE region = $1 AND nonce = $2 FOR SHARE

-- name: limit_idle
-- $1 such as '2s': how long the rest of this transaction may hear nothing of its client, who is paused or gone then
SELECT set_config('idle_in_transaction_session_timeout', $1, TRUE)

-- name: admission_of
-- $1 region, or part of one. Result: nonce
SELECT nonce FROM admissions WHERE region = $1

-- name: set_admission
-- $1 region, or part of one, $2 nonce. Needs lock_admissions where upserts name that nonce, or the one before
INSERT INTO admissions (region, nonce) VALUES ($1, $2)
ON CONFLICT (region) DO UPDATE SET nonce = EXCLUDED.nonce, admitted_at = EXCLUDED.admitted_at

-- name: propose_admission
-- As set_admission, where there is no row of that name
INSERT INTO admissions (region, nonce) VALUES ($1, $2) ON CONFLICT (region) DO NOTHING

-- name: replace_admission
-- $1 name, $2 nonce of before, $3 nonce. Result: TRUE when it was replaced
UPDATE admissions SET nonce = $3 WHERE region = $1 AND nonce = $2 RETURNING TRUE

-- name: has_been_admitted
-- $1 region. Result: TRUE when this database has seen an admission of the region, whole or in parts, or a restore
SELECT EXISTS (SELECT 1 FROM admissions WHERE region IN ($1, '*restored') OR starts_with(region, $1 || ' '))

-- name: void_admissions
-- $1 region, $2 nonce: what names the admissions before, of the whole or of parts, changes nothing. As set_admission
UPDATE admissions SET nonce = $2 WHERE region = $1 OR starts_with(region, $1 || ' ')

-- name: begin_restore
-- $1 name of the mark, $2 mark. That of a restore which has replaced this database stays
INSERT INTO admissions (region, nonce) VALUES ($1, $2)
ON CONFLICT (region) DO UPDATE SET nonce = EXCLUDED.nonce, admitted_at = EXCLUDED.admitted_at
WHERE admissions.nonce NOT LIKE 'committed %'

-- name: call_off_restore
-- $1 name of the mark. As begin_restore
DELETE FROM admissions WHERE region = $1 AND nonce NOT LIKE 'committed %'

-- name: lock_admissions
-- In a transaction: waits for the fenced statements under way (hold_admission), and holds later ones back until it ends.
LOCK TABLE admissions IN EXCLUSIVE MODE

-- name: lock_scores
-- As lock_admissions, for the upserts of workers of the version before. Reads and dumps go on.
LOCK TABLE leaderboard IN SHARE ROW EXCLUSIVE MODE

-- name: lock_accounts
-- As lock_scores, for passwords and deletions.
LOCK TABLE accounts, deleted_players IN SHARE ROW EXCLUSIVE MODE

-- name: work_at_length
-- In a transaction that backs up or restores: without limits of time, and with times as every version reads them.
SELECT set_config('statement_timeout', '0', TRUE), set_config('idle_in_transaction_session_timeout', '0', TRUE),
       set_config('datestyle', 'ISO, YMD', TRUE)

-- name: columns_of
-- $1 table. Result: name, in their order
SELECT attname::text AS name FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum

-- name: has_rows
-- Result: whether there is anything that a restore would replace
SELECT EXISTS (SELECT FROM leaderboard) OR EXISTS (SELECT FROM accounts) OR EXISTS (SELECT FROM entries)
    OR EXISTS (SELECT FROM boards WHERE version > 0)

-- name: empty_database
-- Deletes and does not truncate: who reads meanwhile goes on.
WITH passwords AS (DELETE FROM accounts), deletions AS (DELETE FROM deleted_players),
     standings AS (DELETE FROM entries), definitions AS (DELETE FROM boards), dead AS (DELETE FROM dead_boards)
DELETE FROM leaderboard

-- name: raise_board_ids
-- After boards have come from elsewhere: no id of theirs is given out again. It is never lowered, also not by a rollback.
SELECT setval('board_ids', GREATEST(last_value, (SELECT max(id) FROM boards), (SELECT max(id) FROM dead_boards)))
FROM board_ids

-- name: delete_players
-- $1 user_ids, $2 µs of the deletion, $3 µs until which tokens may be valid, $4 µs at which it was done: arrays of one
-- length, each user_id once. Needs lock_admissions. Rows and entries that are newer stay, and passwords from after $4.
WITH event AS (
    SELECT user_id, TIMESTAMP 'epoch' + micros * INTERVAL '1 microsecond' AS deleted_at,
           TIMESTAMP 'epoch' + until_micros * INTERVAL '1 microsecond' AS tokens_until,
           TIMESTAMP 'epoch' + written_micros * INTERVAL '1 microsecond' AS written_at
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
         AS given (user_id, micros, until_micros, written_micros)
), remembered AS (
    INSERT INTO deleted_players (user_id, deleted_at, tokens_until) SELECT user_id, deleted_at, tokens_until FROM event
    ON CONFLICT (user_id) DO UPDATE SET deleted_at = EXCLUDED.deleted_at, tokens_until = EXCLUDED.tokens_until
    WHERE deleted_players.deleted_at < EXCLUDED.deleted_at
), passwords AS (
    DELETE FROM accounts USING event
    WHERE accounts.user_id = event.user_id AND accounts.created_at <= event.written_at
), standings AS (
    DELETE FROM entries USING event
    WHERE entries.user_id = event.user_id AND entries.updated_at <= event.deleted_at
)
DELETE FROM leaderboard USING event
WHERE leaderboard.user_id = event.user_id
  AND (leaderboard.updated_at IS NULL OR leaderboard.updated_at <= event.deleted_at)

-- name: page_deletions
-- $1 last user_id of the page before ('' at first), $2 rows a page, $3 µs: only deletions after that
-- Result: user_id, micros, until_micros, by user_id
SELECT user_id, (EXTRACT(EPOCH FROM deleted_at) * 1000000)::bigint AS micros,
       (EXTRACT(EPOCH FROM tokens_until) * 1000000)::bigint AS until_micros
FROM deleted_players
WHERE user_id > $1
  AND ($3::bigint = 0 OR deleted_at > TIMESTAMP 'epoch' + $3::bigint * INTERVAL '1 microsecond')
ORDER BY user_id
LIMIT $2

-- name: deletions_by_id
-- $1 user_ids. Result: as page_deletions
SELECT user_id, (EXTRACT(EPOCH FROM deleted_at) * 1000000)::bigint AS micros,
       (EXTRACT(EPOCH FROM tokens_until) * 1000000)::bigint AS until_micros
FROM deleted_players
WHERE user_id = ANY($1::text[])

-- name: deletions_among
-- $1 user_ids of an import, a line each: thousands of parameters in an array take longer than the look-up.
-- Result: user_id, micros, until_micros, as page_deletions
SELECT user_id, (EXTRACT(EPOCH FROM deleted_at) * 1000000)::bigint AS micros,
       (EXTRACT(EPOCH FROM tokens_until) * 1000000)::bigint AS until_micros
FROM deleted_players
WHERE user_id = ANY(string_to_array($1::text, E'\n'))

-- name: page_players
-- $1 last user_id of the page before ('' at first), $2 rows a page
-- Result: user_id, name, region, score, micros, protected (has a password), last_key, credential, submits, metadata,
--         deleted_micros (when a predecessor was deleted, 0 if none was), by user_id
SELECT user_id, name, region, score,
       (EXTRACT(EPOCH FROM COALESCE(updated_at, TIMESTAMP 'epoch')) * 1000000)::bigint AS micros,
       protected, last_key, credential, submits, metadata,
       COALESCE((
           SELECT EXTRACT(EPOCH FROM deleted_at) * 1000000 FROM deleted_players
           WHERE deleted_players.user_id = leaderboard.user_id
       ), 0)::bigint AS deleted_micros
FROM leaderboard
WHERE user_id > $1
ORDER BY user_id
LIMIT $2

-- name: page_changed_players
-- $1 µs and $2 user_id of the last row of the page before ('' at first: rows of that very µs are among them)
-- $3 rows a page
-- Result: as page_players, by (updated_at, user_id), as the index leaderboard_updated_at has them. A row without
-- updated_at has not changed since it was made by hand, and is not among them.
-- The deletion is looked up row by row: a join may cost the order, and then every page sorts what is left.
SELECT user_id, name, region, score, (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS micros,
       protected, last_key, credential, submits, metadata, COALESCE((
           SELECT EXTRACT(EPOCH FROM deleted_at) * 1000000 FROM deleted_players
           WHERE deleted_players.user_id = leaderboard.user_id
       ), 0)::bigint AS deleted_micros
FROM leaderboard
WHERE (updated_at, user_id) > (TIMESTAMP 'epoch' + $1::bigint * INTERVAL '1 microsecond', $2::text)
ORDER BY updated_at, user_id
LIMIT $3

-- name: page_entries
-- $1 µs, $2 user_id, $3 board_id and $4 window of the last row of the page before (at first 0, '', 0, ''), $5 rows a page
-- Result: user_id, board_id, board_window, region, key, member, micros, submits, base_micros (0 for none), best, removed,
--         metadata, last_key, by (updated_at, user_id, board_id, board_window), as the index entries_updated_at has them
SELECT user_id, board_id, board_window, region, key, member, (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS micros,
       submits, COALESCE(EXTRACT(EPOCH FROM base_at) * 1000000, 0)::bigint AS base_micros, best, removed, metadata,
       last_key
FROM entries
WHERE (updated_at, user_id, board_id, board_window)
      > (TIMESTAMP 'epoch' + $1::bigint * INTERVAL '1 microsecond', $2::text, $3::bigint, $4::text)
ORDER BY updated_at, user_id, board_id, board_window
LIMIT $5

-- name: entries_by_id
-- $1 user_ids. Result: as page_entries, in no order
SELECT user_id, board_id, board_window, region, key, member, (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS micros,
       submits, COALESCE(EXTRACT(EPOCH FROM base_at) * 1000000, 0)::bigint AS base_micros, best, removed, metadata,
       last_key
FROM entries
WHERE user_id = ANY($1::text[])

-- name: entries_on_boards
-- $1 user_ids, $2 ids of boards. Result: as page_entries, in no order
SELECT user_id, board_id, board_window, region, key, member, (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS micros,
       submits, COALESCE(EXTRACT(EPOCH FROM base_at) * 1000000, 0)::bigint AS base_micros, best, removed, metadata,
       last_key
FROM entries
WHERE user_id = ANY($1::text[]) AND board_id = ANY($2::bigint[])

-- name: any_entry
SELECT EXISTS (SELECT FROM entries)

-- name: page_entries_by_player
-- $1 user_id, $2 board_id and $3 window of the last row of the page before (at first '', 0, ''), $4 rows a page
-- Result: as page_entries, by the primary key
SELECT user_id, board_id, board_window, region, key, member, (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS micros,
       submits, COALESCE(EXTRACT(EPOCH FROM base_at) * 1000000, 0)::bigint AS base_micros, best, removed, metadata,
       last_key
FROM entries
WHERE (user_id, board_id, board_window) > ($1::text, $2::bigint, $3::text)
ORDER BY user_id, board_id, board_window
LIMIT $4

-- name: delete_entries_of_nobody
-- $1 user_id, $2 region, $3 µs: not those written later. Nothing where that region has the player
DELETE FROM entries
WHERE user_id = $1 AND region = $2 AND updated_at <= TIMESTAMP 'epoch' + $3::bigint * INTERVAL '1 microsecond'
  AND NOT EXISTS (SELECT FROM leaderboard WHERE leaderboard.user_id = $1 AND leaderboard.region = $2)

-- name: delete_entries_of_boards
-- $1 user_id, $2 region, $3 ids of boards that are gone
DELETE FROM entries WHERE user_id = $1 AND region = $2 AND board_id = ANY($3::bigint[])

-- name: rename_region_of_entries
-- $1 old region, $2 new region, $3 most rows. Result: rows renamed
WITH page AS (SELECT user_id, board_id, board_window FROM entries WHERE region = $1 LIMIT $3), renamed AS (
    UPDATE entries SET region = $2 FROM page
    WHERE (entries.user_id, entries.board_id, entries.board_window) = (page.user_id, page.board_id, page.board_window)
    RETURNING 1
)
SELECT count(*) FROM renamed

-- name: known_regions
-- Result: region
SELECT region FROM known_regions ORDER BY region

-- name: know_regions
-- $1 regions
INSERT INTO known_regions (region) SELECT unnest($1::text[]) ON CONFLICT (region) DO NOTHING

-- name: forget_known_region
-- $1 region
DELETE FROM known_regions WHERE region = $1

-- name: regions_of_rows
-- Result: region, each once. A loose scan of the index: one step for each region, whatever the number of rows.
WITH RECURSIVE found AS (
    (SELECT region FROM leaderboard ORDER BY region LIMIT 1)
    UNION ALL
    SELECT (SELECT leaderboard.region FROM leaderboard WHERE leaderboard.region > found.region ORDER BY 1 LIMIT 1)
    FROM found WHERE found.region IS NOT NULL
)
SELECT region FROM found WHERE region IS NOT NULL

-- name: rename_region_of_rows
-- $1 old region, $2 new region, $3 most rows. Result: rows renamed
WITH page AS (SELECT user_id FROM leaderboard WHERE region = $1 LIMIT $3), renamed AS (
    UPDATE leaderboard SET region = $2 FROM page WHERE leaderboard.user_id = page.user_id RETURNING 1
)
SELECT count(*) FROM renamed

-- name: forget_admission
-- $1 name
DELETE FROM admissions WHERE region = $1

-- name: end_admission
-- $1 name, $2 nonce that it must have
DELETE FROM admissions WHERE region = $1 AND nonce = $2

-- name: forget_admissions
-- $1 region: those of the whole, and of parts
DELETE FROM admissions WHERE region = $1 OR starts_with(region, $1 || ' ')

-- name: players_known
-- $1 user_ids. Result: user_id, of those that have a row here
SELECT user_id FROM leaderboard WHERE user_id = ANY($1::text[])

-- name: delete_row
-- $1 user_id, $2 region, $3 µs of its last write. Result: TRUE when that row was there
DELETE FROM leaderboard
WHERE user_id = $1 AND region = $2 AND updated_at = TIMESTAMP 'epoch' + $3::bigint * INTERVAL '1 microsecond'
RETURNING TRUE

-- name: count_players_of_region
-- $1 region
SELECT count(*) FROM leaderboard WHERE region = $1

-- name: count_players
SELECT count(*) FROM leaderboard

-- name: estimate_players
-- Result: rows by the last autovacuum or ANALYZE; 0 when there was none
SELECT GREATEST(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass('leaderboard')

-- name: save_account
-- $1 user_id, $2 password_hash, $3 µs at which the caller took the claim on user_id.
-- Saves nothing when a later claim has saved, or the player made since was deleted: this statement may arrive after its
-- own claim has ended.
INSERT INTO accounts (user_id, password_hash, created_at)
SELECT user_id, password_hash, created_at
FROM (VALUES ($1::text, $2::text, TIMESTAMP 'epoch' + $3::bigint * INTERVAL '1 microsecond'))
     AS account (user_id, password_hash, created_at)
WHERE NOT EXISTS (
    SELECT 1 FROM deleted_players
    WHERE deleted_players.user_id = account.user_id AND deleted_players.deleted_at >= account.created_at
)
ON CONFLICT (user_id) DO UPDATE SET password_hash = EXCLUDED.password_hash, created_at = EXCLUDED.created_at
WHERE accounts.created_at < EXCLUDED.created_at

-- name: password_hash_of
-- $1 user_id
SELECT password_hash FROM accounts WHERE user_id = $1

-- name: account_saved_at
-- $1 user_id. Result: µs
SELECT (EXTRACT(EPOCH FROM created_at) * 1000000)::bigint FROM accounts WHERE user_id = $1

-- name: delete_account
-- $1 user_id, $2 password_hash: only the account that this registration saved
DELETE FROM accounts WHERE user_id = $1 AND password_hash = $2

-- Rankings, while Redis cannot give them. $1, $2, $3 are always region, board id and window. The row comparisons fit the
-- index of the board's table, which has all that counts and marks need.

-- name: rows_of_main
-- What @rows@ stands for on the board of id 0, in the window that never ends.
(
    SELECT user_id, score AS key, user_id COLLATE "C" AS member, name, region, metadata FROM leaderboard
    WHERE region = $1 AND $2::bigint = 0 AND $3::text = 'all'
) AS rows

-- name: rows_of_entries
-- What @rows@ stands for on every other board, and in every other window. Where no name is asked for, nothing is joined.
(
    SELECT entries.user_id, entries.key, entries.member, COALESCE(leaderboard.name, entries.user_id) AS name,
           entries.region, entries.metadata
    FROM entries LEFT JOIN leaderboard ON leaderboard.user_id = entries.user_id
    WHERE entries.region = $1 AND entries.board_id = $2::bigint AND entries.board_window = $3::text AND NOT entries.removed
) AS rows

-- name: export_snapshot
-- Result: snapshot (what other transactions may see too, while this one lasts), and version: a text that is the same in
-- two transactions only if both see the same rows, because no transaction that writes, in whichever database of the
-- server, has begun or ended between them. NULL on a standby, which cannot tell.
SELECT pg_export_snapshot() AS snapshot,
       CASE WHEN NOT pg_is_in_recovery() THEN concat(pg_current_snapshot(), ' ', pg_postmaster_start_time()) END AS version

-- name: go_by_order
-- For the rest of the transaction. In a table without statistics (new, or just restored) the planner takes a region for a
-- few rows, which it would gather in a bitmap and sort: all of the board for each of these reads.
SET LOCAL enable_bitmapscan = off

-- name: import_snapshot
-- $1 what export_snapshot gave, put in as text: this statement takes no parameters. Before any query of its transaction.
SET TRANSACTION SNAPSHOT '$1'

-- name: board_marks
-- $4 key, $5 member, $6 stride, $7 marks at most. Result: key and member of every $6-th row after that place, in board
-- order
WITH RECURSIVE mark (key, member, number) AS (
    SELECT $4::bigint, $5::text COLLATE "C", 0
    UNION ALL
    SELECT following.key, following.member, mark.number + 1
    FROM mark CROSS JOIN LATERAL (
        SELECT key, member FROM @rows@
        WHERE (key, member) < (mark.key, mark.member)
        ORDER BY key DESC, member DESC
        LIMIT 1 OFFSET $6::bigint - 1
    ) AS following
    WHERE mark.number < $7::integer
)
SELECT key, member FROM mark WHERE number > 0 ORDER BY number

-- name: board_marks_sorted
-- $4 stride. Result: as board_marks, of the whole board, by a sequential scan and a sort: the index does not have the order
-- of the sum, so that the planner, which takes the visibility map for complete, does not go by it.
SELECT key, member FROM (
    SELECT key, member, row_number() OVER (ORDER BY key + 0 DESC, member DESC) AS number FROM @rows@
) AS numbered
WHERE number % $4::bigint = 0
ORDER BY number

-- name: board_counts_between
-- $4 keys, $5 members, $6 keys, $7 members: arrays of one length. Result: for each pair of places, in the order
-- given, the rows at and after the first and before the second
SELECT (
    SELECT count(*) FROM @rows@
    WHERE (key, member) <= (piece.from_key, piece.from_member) AND (key, member) > (piece.to_key, piece.to_member)
) AS players
FROM unnest($4::bigint[], $5::text[], $6::bigint[], $7::text[])
     WITH ORDINALITY AS piece (from_key, from_member, to_key, to_member, number)
ORDER BY number

-- name: board_players
-- $4 user_ids. Result: member, key, name, region
SELECT member, key, name, region FROM @rows@ WHERE user_id = ANY($4::text[])

-- name: board_metadata
-- $4 user_ids. Result: member and metadata of those of them that have any
SELECT member, metadata FROM @rows@ WHERE user_id = ANY($4::text[]) AND metadata <> ''

-- name: board_rows_before
-- $4 key, $5 member, $6 rows. Result: the nearest rows before that place, nearest first
SELECT member, key, name, region FROM @rows@
WHERE (key, member) > ($4, $5)
ORDER BY key, member
LIMIT $6

-- name: board_place
-- $4 key, $5 member, $6 offset. Result: key and member of the row that $6 others are before, of those at and after
-- that place; the rows are not looked at, only the index
SELECT key, member FROM @rows@
WHERE (key, member) <= ($4, $5)
ORDER BY key DESC, member DESC
LIMIT 1 OFFSET $6

-- name: board_rows_from
-- $4 key, $5 member, $6 rows. Result: the rows at and after that place, in board order
SELECT member, key, name, region FROM @rows@
WHERE (key, member) <= ($4, $5)
ORDER BY key DESC, member DESC
LIMIT $6

-- name: board_rows_after
-- $4 key, $5 member, $6 lowest key, $7 rows. Result: the rows after that place, in board order
SELECT member, key, name, region FROM @rows@
WHERE (key, member) < ($4, $5) AND key >= $6
ORDER BY key DESC, member DESC
LIMIT $7

-- name: boards_of_player
-- $1 user_id. Result: board_id of each board on which the player has an entry, also of those that are gone
SELECT board_id FROM entries WHERE user_id = $1 AND board_window = 'all' AND NOT removed

-- name: entries_of_player
-- $1 user_id, $2 ids of boards. Result: board_id, key, member, micros, submits, metadata
SELECT board_id, key, member, (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS micros, submits, metadata FROM entries
WHERE user_id = $1 AND board_id = ANY($2::bigint[]) AND board_window = 'all' AND NOT removed

-- name: players_by_id
-- $1 user_ids. Result: as page_players
SELECT user_id, name, region, score,
       (EXTRACT(EPOCH FROM COALESCE(updated_at, TIMESTAMP 'epoch')) * 1000000)::bigint AS micros,
       protected, last_key, credential, submits, metadata,
       COALESCE((
           SELECT EXTRACT(EPOCH FROM deleted_at) * 1000000 FROM deleted_players
           WHERE deleted_players.user_id = leaderboard.user_id
       ), 0)::bigint AS deleted_micros
FROM leaderboard
WHERE user_id = ANY($1::text[])

-- name: backend_pid
-- Result: the pid of the session that runs this
SELECT pg_backend_pid()

-- name: read_only
-- Result: whether the server is in recovery, whether this connection's transactions are read-only
SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean

-- name: statement_of_a_new_password
-- $1 the password. Result: the statement that gives it to this user
SELECT format('ALTER ROLE %I PASSWORD %L', current_user, $1::text)

-- Definitions of boards, in GLOBAL's database. Each of these results is: name, id, version, gone, rules (JSON), everywhere.

-- name: ensure_board
-- $1 name, $2 id, $3 rules: the row of a board that is there without one
INSERT INTO boards (name, id, version, rules) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING

-- name: lock_board
-- $1 name. In a transaction: whoever states it next waits until that ends
SELECT name, id, version, gone, rules, everywhere_at IS NOT NULL AS everywhere FROM boards WHERE name = $1 FOR UPDATE

-- name: change_board
-- $1 name, $2 rules. Needs lock_board
UPDATE boards SET version = version + 1, rules = $2, everywhere_at = NULL WHERE name = $1
RETURNING name, id, version, gone, rules, FALSE AS everywhere

-- name: number_of_boards
-- Result: how many there are beside the main board
SELECT count(*) FROM boards WHERE id <> 0 AND NOT gone

-- name: make_board
-- $1 name, $2 rules. Nothing when there is one
INSERT INTO boards (name, id, version, rules) VALUES ($1, nextval('board_ids'), 1, $2)
ON CONFLICT (name) DO UPDATE
SET id = EXCLUDED.id, version = EXCLUDED.version, gone = FALSE, rules = EXCLUDED.rules, everywhere_at = NULL
WHERE boards.gone
RETURNING name, id, version, gone, rules, FALSE AS everywhere

-- name: pass_board_id
-- $1 id. No id is given out any more that is not later. Needs the main board's row. Nothing when there would have been none
SELECT setval('board_ids', $1::bigint) FROM board_ids
WHERE last_value < $1::bigint OR (last_value = $1::bigint AND NOT is_called)

-- name: remove_board
-- $1 name. Nothing when there is none, or it is gone everywhere
WITH removed AS (
    UPDATE boards SET gone = TRUE, everywhere_at = NULL WHERE name = $1 AND NOT (gone AND everywhere_at IS NOT NULL)
    RETURNING name, id, version, gone, rules
), dead AS (
    INSERT INTO dead_boards (id, name, rules) SELECT id, name, rules FROM removed ON CONFLICT DO NOTHING
)
SELECT name, id, version, gone, rules, FALSE AS everywhere FROM removed

-- name: adopt_board
-- $1 name, $2 id, $3 version, $4 whether it is gone and $5 rules, as a shard has them. Nothing unless they are of a later
-- board than the row's, of that one and gone, or there is no row; nor where another board has the id
WITH before AS (
    SELECT id, name, rules FROM boards WHERE name = $1 AND id < $2::bigint AND NOT gone
), adopted AS (
    INSERT INTO boards (name, id, version, gone, rules)
    SELECT $1, $2::bigint, GREATEST($3::bigint, 1), $4::boolean, $5::text
    WHERE NOT EXISTS (SELECT FROM boards WHERE id = $2::bigint AND name <> $1)
    ON CONFLICT (name) DO UPDATE
    SET id = EXCLUDED.id, version = EXCLUDED.version, gone = EXCLUDED.gone, rules = EXCLUDED.rules, everywhere_at = NULL
    WHERE boards.id < EXCLUDED.id OR (boards.id = EXCLUDED.id AND EXCLUDED.gone AND NOT boards.gone)
    RETURNING name, id, version, gone, rules
), dead AS (
    INSERT INTO dead_boards (id, name, rules)
    SELECT id, name, rules FROM before WHERE EXISTS (SELECT FROM adopted)
    UNION ALL SELECT id, name, rules FROM adopted WHERE gone
    ON CONFLICT DO NOTHING
)
SELECT name, id, version, gone, rules, FALSE AS everywhere,
       setval('board_ids', GREATEST(id, (SELECT last_value FROM board_ids))) AS last_id
FROM adopted

-- name: overtake_board
-- $1 name, $2 id and $3 version that a shard has, $4 version that Postgres had. Nothing when the row has changed since
UPDATE boards SET version = $3::bigint + 1, everywhere_at = NULL
WHERE name = $1 AND id = $2 AND version = $4 AND version <= $3::bigint AND NOT gone
RETURNING name, id, version, gone, rules, FALSE AS everywhere

-- name: boards_by_name
-- $1 names
SELECT name, id, version, gone, rules, everywhere_at IS NOT NULL AS everywhere FROM boards WHERE name = ANY($1::text[])

-- name: boards_by_id
-- $1 ids. Those that are gone are left out
SELECT name, id, version, gone, rules, everywhere_at IS NOT NULL AS everywhere FROM boards
WHERE id = ANY($1::bigint[]) AND NOT gone

-- name: all_boards
-- $1 whether only those that some shard may lack
SELECT name, id, version, gone, rules, everywhere_at IS NOT NULL AS everywhere FROM boards
WHERE NOT $1::boolean OR everywhere_at IS NULL
ORDER BY name

-- name: living_boards
-- Those that are not gone
SELECT name, id, version, gone, rules, everywhere_at IS NOT NULL AS everywhere FROM boards WHERE NOT gone

-- name: boards_after
-- $1 name, $2 names at most. Result: name, of those after that one that are not gone, in order
SELECT name FROM boards WHERE name > $1 AND NOT gone AND id <> 0 ORDER BY name LIMIT $2

-- name: note_everywhere
-- $1 name, $2 id, $3 version, $4 gone
UPDATE boards SET everywhere_at = NOW() AT TIME ZONE 'UTC'
WHERE name = $1 AND id = $2 AND version = $3 AND gone = $4 AND everywhere_at IS NULL

-- name: claim_dead_board
-- $1 seconds. The board that is swept next, and is nobody else's for so long; nothing when all are swept or claimed.
-- Result: id, name, rules, settled: whether it has been gone for a minute
UPDATE dead_boards SET claimed_until = (clock_timestamp() AT TIME ZONE 'UTC') + $1 * INTERVAL '1 second'
WHERE id = (
    SELECT id FROM dead_boards
    WHERE swept_at IS NULL AND (claimed_until IS NULL OR claimed_until < clock_timestamp() AT TIME ZONE 'UTC')
    ORDER BY claimed_until NULLS FIRST, id LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING id, name, rules, gone_at < (clock_timestamp() AT TIME ZONE 'UTC') - INTERVAL '1 minute' AS settled

-- name: keep_dead_board
-- $1 id, $2 seconds: as claim_dead_board, for whoever has it
UPDATE dead_boards SET claimed_until = (clock_timestamp() AT TIME ZONE 'UTC') + $2 * INTERVAL '1 second' WHERE id = $1

-- name: note_swept
-- $1 id
UPDATE dead_boards SET swept_at = clock_timestamp() AT TIME ZONE 'UTC' WHERE id = $1

-- name: reopen_dead_boards
-- $1 ids of which there are rows: those that are gone are swept once more. Result: id
UPDATE dead_boards SET swept_at = NULL, claimed_until = NULL WHERE id = ANY($1::bigint[]) AND swept_at IS NOT NULL
RETURNING id

-- name: dead_among
-- $1 ids. Result: id, of those that are gone
SELECT id FROM dead_boards WHERE id = ANY($1::bigint[])

-- name: boards_being_swept
-- Result: id
SELECT id FROM dead_boards WHERE swept_at IS NULL

-- name: boards_of_entries
-- Result: id of each board that has rows here. A loose scan of both indexes, as regions_of_rows.
WITH RECURSIVE standing AS (
    (SELECT board_id AS id FROM entries WHERE NOT removed ORDER BY board_id LIMIT 1)
    UNION ALL
    SELECT (SELECT board_id FROM entries WHERE NOT removed AND board_id > standing.id ORDER BY board_id LIMIT 1)
    FROM standing WHERE standing.id IS NOT NULL
), removed AS (
    (SELECT board_id AS id FROM entries WHERE removed ORDER BY board_id LIMIT 1)
    UNION ALL
    SELECT (SELECT board_id FROM entries WHERE removed AND board_id > removed.id ORDER BY board_id LIMIT 1)
    FROM removed WHERE removed.id IS NOT NULL
)
SELECT id FROM standing WHERE id IS NOT NULL UNION SELECT id FROM removed WHERE id IS NOT NULL

-- name: delete_entries_of_board
-- $1 board_id, $2 most rows. Result: rows deleted
WITH page AS (
    SELECT user_id, board_id, board_window FROM entries WHERE board_id = $1 AND NOT removed LIMIT $2 FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM entries USING page
    WHERE entries.user_id = page.user_id AND entries.board_id = page.board_id AND entries.board_window = page.board_window
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: removed_entries_of_board
-- $1 board_id, $2 most rows. Result: user_id, region, board_window
SELECT user_id, region, board_window FROM entries WHERE board_id = $1 AND removed ORDER BY user_id LIMIT $2

-- name: delete_removed_entries
-- $1 board_id, $2 user_ids
DELETE FROM entries WHERE board_id = $1 AND user_id = ANY($2::text[]) AND removed
