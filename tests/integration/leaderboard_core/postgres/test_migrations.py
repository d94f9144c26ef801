"""Migrations beside each other, beside upserts, dumps and older versions, and after processes that died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres import migrations, sql
from leaderboard_core.postgres.migration_lease import PATIENCE
from leaderboard_core.postgres.migrations import OLDER_LOCK, migrate
from tests.support.waiting import eventually

QUICK = replace(PATIENCE, lease=1.0, watch=0.1, lock=0.3, build_lock=0.3, blocked=30.0)
INDEX = "leaderboard_updated_at"
ADD_COLUMN = sql.Migration(9998, "more", "ALTER TABLE leaderboard ADD COLUMN more INTEGER")
SLOW = sql.Migration(9998, "slow", "SELECT pg_sleep(2.5)")


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def admin(fresh_database: str) -> AsyncIterator[Any]:
    async with session(fresh_database) as connection:
        yield connection


@pytest.fixture
async def migrated(fresh_database: str) -> str:
    """A database of the newest schema."""
    await migrate(fresh_database, timeout=10)
    return fresh_database


@pytest.fixture
async def without_index(migrated: str, admin: Any) -> str:
    """A database that lacks the index, as before the upgrade."""
    await admin.execute(f"DROP INDEX {INDEX}")
    await admin.execute("DELETE FROM schema_migrations WHERE name = 'updated_at'")
    return migrated


def also(monkeypatch: pytest.MonkeyPatch, *more: sql.Migration) -> None:
    known = (*sql.migrations(), *more)
    monkeypatch.setattr(sql, "migrations", lambda: known)


async def upsert(connection: Any, number: int) -> float:
    """Save a player; return the seconds that it took."""
    began = time.perf_counter()
    micros = 1_700_000_000_000_000 + number
    one = (["alice"], ["Alice"], ["EU"], [number], [micros], [False], [""], ["self"], [0], [""])
    await connection.execute(sql.load("upsert_scores"), *one)
    return time.perf_counter() - began


async def valid(connection: Any) -> bool | None:
    """Tell whether the index is valid; None when there is none."""
    found: bool | None = (await connection.fetchrow(sql.load("index_state"), INDEX))["valid"]
    return found


async def builder(connection: Any) -> int | None:
    """Return the pid of the session that builds the index."""
    found: int | None = (await connection.fetchrow(sql.load("index_state"), INDEX))["builder"]
    return found


async def recorded(connection: Any) -> list[str]:
    return [row["name"] for row in await connection.fetch("SELECT name FROM schema_migrations ORDER BY version")]


@asynccontextmanager
async def transaction(url: str, *statements: str) -> AsyncIterator[Any]:
    """Keep a transaction open that has run these statements."""
    async with session(url) as connection, connection.transaction(isolation="repeatable_read"):
        for statement in statements:
            await connection.execute(statement)
        yield connection


DUMP = "LOCK TABLE leaderboard IN ACCESS SHARE MODE"
WRITER = "INSERT INTO leaderboard (user_id, name, region) VALUES ('slow', 'Slow', 'EU')"


async def test_upserts_go_on_while_a_migration_waits_for_a_dump(
    migrated: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    also(monkeypatch, ADD_COLUMN)
    took = []
    async with transaction(migrated, DUMP):
        migrating = asyncio.create_task(migrate(migrated, timeout=10))
        began = time.monotonic()
        for number in range(1, 100_000):
            took.append(await asyncio.wait_for(upsert(admin, number), 10))
            if time.monotonic() - began > 6:
                break
        assert not migrating.done()
    assert await migrating == [str(ADD_COLUMN)]
    assert 1 < max(took) < PATIENCE.lock + 3, "it waited behind the migration, and not longer than the migration waits"
    assert len(took) > 50, "most did not wait"


async def test_a_migration_that_is_blocked_for_too_long_names_who_blocks(
    migrated: str, admin: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    also(monkeypatch, ADD_COLUMN)
    async with transaction(migrated, DUMP) as dump:
        await dump.execute("SET application_name = 'pg_dump'")
        with pytest.raises(Unavailable, match=rf"9998_more has waited 1 s .*pg_dump \(pid {dump.get_server_pid()}\)"):
            await migrate(migrated, timeout=10, patience=replace(QUICK, blocked=1))
        assert "migration 9998_more waits" in caplog.text
        assert await admin.fetchval("SELECT count(*) FROM migration_lease") == 0
    assert await migrate(migrated, timeout=10) == [str(ADD_COLUMN)]


async def test_who_finds_nothing_to_do_waits_for_nobody(migrated: str, admin: Any) -> None:
    await admin.execute("INSERT INTO migration_lease VALUES (TRUE, 'other', 'hangs', 'infinity')")
    await admin.fetchval("SELECT pg_advisory_lock($1)", OLDER_LOCK)
    async with transaction(migrated, DUMP):
        assert await asyncio.wait_for(migrate(migrated, timeout=10), 5) == []


async def test_the_lease_of_a_process_that_died_is_taken_over_when_it_ends(
    without_index: str, admin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await admin.execute(
        "INSERT INTO migration_lease VALUES (TRUE, 'dead', '0005_updated_at', clock_timestamp() + '0.8 s')"
    )
    began = time.monotonic()
    assert len(await migrate(without_index, timeout=10, patience=QUICK)) == 1
    assert time.monotonic() - began > 0.7
    assert "another process migrates: dead: 0005_updated_at" in caplog.text


async def test_a_lease_from_before_the_clock_stepped_back_ends_like_any_other(without_index: str, admin: Any) -> None:
    await admin.execute("INSERT INTO migration_lease VALUES (TRUE, 'dead', '', clock_timestamp() + '1 hour')")
    assert len(await asyncio.wait_for(migrate(without_index, timeout=10, patience=QUICK), 10)) == 1


async def test_who_waits_for_a_holder_without_progress_gives_up(without_index: str, admin: Any) -> None:
    patience = replace(QUICK, lease=60, blocked=0.5)
    await admin.execute("INSERT INTO migration_lease VALUES (TRUE, 'other', 'hangs', clock_timestamp() + '60 s')")
    with pytest.raises(Unavailable, match=r"makes no progress. other: hangs"):
        await migrate(without_index, timeout=10, patience=patience)
    assert await admin.fetchval("SELECT holder FROM migration_lease") == "other"


async def test_a_lease_that_ends_between_two_looks_is_taken(without_index: str, admin: Any) -> None:
    # Who waits shortens a lease from before a step back of the clock, and here that ends it.
    await admin.execute("INSERT INTO migration_lease VALUES (TRUE, 'other', 'done', clock_timestamp() + '1 hour')")
    await admin.execute(
        "CREATE FUNCTION released() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN DELETE FROM migration_lease WHERE holder = ''other''; RETURN NULL; END';"
        "CREATE TRIGGER released AFTER UPDATE ON migration_lease FOR EACH ROW EXECUTE FUNCTION released()"
    )
    assert len(await migrate(without_index, timeout=10, patience=QUICK)) == 1


async def test_the_lease_is_renewed_while_a_migration_runs(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    also(monkeypatch, SLOW)
    results = await asyncio.gather(*(migrate(migrated, timeout=10, patience=QUICK) for _ in range(2)))
    assert sorted(results) == [[], [str(SLOW)]]


async def test_a_limit_of_the_time_of_statements_is_not_for_migrations(
    without_index: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    also(monkeypatch, SLOW)
    await admin.execute(f'ALTER DATABASE "{without_index.rpartition("/")[2]}" SET statement_timeout = 1000')
    async with transaction(without_index, WRITER):
        migrating = asyncio.create_task(migrate(without_index, timeout=10))
        await eventually(lambda: builder(admin), "the build")
        await eventually(lambda: builder_is_older(admin), "a build longer than the limit")
    assert await migrating == ["0005_updated_at", str(SLOW)]


async def builder_is_older(connection: Any) -> bool:
    """Tell whether a statement that builds the index has run for more than 1.2 s; it must not have ended."""
    pid = await builder(connection)
    assert pid is not None
    find = "SELECT query_start < clock_timestamp() - INTERVAL '1.2 s' FROM pg_stat_activity WHERE pid = $1"
    found: bool = await connection.fetchval(find, pid)
    return found


async def test_who_has_lost_the_lease_changes_nothing(
    migrated: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = replace(SLOW, statements="CREATE TABLE by_slow (x INTEGER); SELECT pg_sleep(60)")
    also(monkeypatch, slow)
    migrating = asyncio.create_task(migrate(migrated, timeout=10, patience=QUICK))
    renew = "UPDATE migration_lease SET holder = 'other' WHERE step LIKE '9998%' RETURNING TRUE"
    await eventually(lambda: admin.fetchval(renew), "the migration")
    with pytest.raises(Unavailable, match="taken the migrations over"):
        await asyncio.wait_for(migrating, 10)
    assert await admin.fetchval("SELECT to_regclass('by_slow')") is None
    assert await admin.fetchval("SELECT holder FROM migration_lease") == "other"
    assert "slow" not in await recorded(admin)


async def test_a_migration_is_not_recorded_under_another_holder(
    migrated: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_over = "UPDATE migration_lease SET holder = 'other'; CREATE TABLE by_slow (x INTEGER)"
    also(monkeypatch, replace(SLOW, statements=take_over))
    with pytest.raises(Unavailable, match="taken the migrations over"):
        await migrate(migrated, timeout=10, patience=replace(QUICK, watch=60))
    assert "slow" not in await recorded(admin)
    assert await admin.fetchval("SELECT to_regclass('by_slow')") is None


async def test_a_process_of_an_older_version_is_waited_for(
    migrated: str, admin: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    also(monkeypatch, ADD_COLUMN)
    await admin.fetchval("SELECT pg_advisory_lock($1)", OLDER_LOCK)
    with pytest.raises(Unavailable, match=rf"older version migrates \(pid {admin.get_server_pid()}\)"):
        await migrate(migrated, timeout=10, patience=replace(QUICK, blocked=0.5))
    migrating = asyncio.create_task(migrate(migrated, timeout=10))
    caplog.clear()
    await eventually(lambda: "older version migrates" in caplog.text, "the wait")
    await admin.fetchval("SELECT pg_advisory_unlock($1)", OLDER_LOCK)
    assert await migrating == [str(ADD_COLUMN)]


async def test_an_older_version_waits_for_a_migration_and_not_for_the_build_of_an_index(
    without_index: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build waits for snapshots, that of a waiting pg_advisory_lock too: they would wait for each other."""
    held = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    async with transaction(without_index, WRITER):
        building = asyncio.create_task(migrate(without_index, timeout=10))
        await eventually(lambda: builder(admin), "the build")
        assert await admin.fetchval("SELECT pg_try_advisory_lock($1)", OLDER_LOCK) is True
        await admin.fetchval("SELECT pg_advisory_unlock($1)", OLDER_LOCK)
    assert len(await building) == 1
    also(monkeypatch, SLOW)
    migrating = asyncio.create_task(migrate(without_index, timeout=10))
    await eventually(lambda: admin.fetchval(held), "the lock")
    assert await admin.fetchval("SELECT pg_try_advisory_lock($1)", OLDER_LOCK) is False
    assert await migrating == [str(SLOW)]


async def test_upserts_go_on_while_an_index_is_built_and_a_writer_keeps_it_waiting(
    without_index: str, admin: Any
) -> None:
    async with transaction(without_index, WRITER):
        building = asyncio.create_task(migrate(without_index, timeout=10, patience=replace(QUICK, build_lock=30)))
        await eventually(lambda: builder(admin), "the build")
        assert max([await upsert(admin, number) for number in range(1, 200)]) < 1
        step = "SELECT step FROM migration_lease WHERE step LIKE '0005_updated_at, waiting for writers%waits for%pid%'"
        await eventually(lambda: admin.fetchval(step), "the step with its phase and who is in the way")
        assert not building.done()
    assert await building == ["0005_updated_at"]
    assert await valid(admin) is True


async def test_a_build_that_waits_too_long_is_given_up_and_done_again(
    without_index: str, admin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with transaction(without_index, WRITER):
        building = asyncio.create_task(migrate(without_index, timeout=10, patience=QUICK))

        async def given_up() -> bool:
            return await valid(admin) is False and await builder(admin) is None

        await eventually(given_up, "an invalid index that nobody builds")
        assert not building.done()
    assert await building == ["0005_updated_at"]
    assert await valid(admin) is True
    assert f"an invalid index is dropped: {INDEX}" in caplog.text


async def test_no_build_is_begun_behind_a_long_transaction(
    without_index: str, admin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    patience = replace(QUICK, long_transaction=0.2)
    async with transaction(without_index, "SELECT count(*) FROM leaderboard"):
        old = sql.load("long_transactions")
        await eventually(lambda: admin.fetchval(old, patience.long_transaction), "the age of the transaction")
        building = asyncio.create_task(migrate(without_index, timeout=10, patience=patience))
        await eventually(lambda: "would wait for the transactions of" in caplog.text, "the wait")
        assert await valid(admin) is None
    assert await building == ["0005_updated_at"]
    assert await valid(admin) is True


async def test_a_session_that_still_builds_for_a_dead_process_is_let_finish(
    without_index: str, admin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(without_index) as orphan:
        async with transaction(without_index, WRITER):
            statement = next(migration.statements for migration in sql.migrations() if migration.index == INDEX)
            finishing = asyncio.create_task(orphan.execute(statement))
            await eventually(lambda: builder(admin), "the orphan's build")
            migrating = asyncio.create_task(migrate(without_index, timeout=10, patience=QUICK))
            await eventually(lambda: f"builds the index (pid {orphan.get_server_pid()})" in caplog.text, "the wait")
            made = await admin.fetchval("SELECT to_regclass($1)::oid", INDEX)
        await finishing
        assert await migrating == ["0005_updated_at"]
    assert await admin.fetchval("SELECT to_regclass($1)::oid", INDEX) == made
    assert await valid(admin) is True


async def test_an_invalid_index_of_a_server_that_was_restarted_is_built_again(without_index: str, admin: Any) -> None:
    async with transaction(without_index, WRITER):
        building = asyncio.create_task(migrate(without_index, timeout=10, patience=QUICK))
        pid = await eventually(lambda: builder(admin), "the build")
        await admin.fetchval("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await building
    assert await valid(admin) is False
    assert await migrate(without_index, timeout=10, patience=QUICK) == ["0005_updated_at"]
    assert await valid(admin) is True


INDEXES = ["0005_updated_at", "0009_entries_order", "0010_entries_updated_at", "0014_entries_removed"]


async def test_indexes_can_be_left_for_later(fresh_database: str, admin: Any) -> None:
    first = await migrations.migrate(fresh_database, timeout=10, indexes=False)
    assert not {*INDEXES} & {*first}
    assert await valid(admin) is None
    assert await migrations.migrate(fresh_database, timeout=10) == INDEXES
