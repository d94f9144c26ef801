"""Migrations, statements and the upsert on a real Postgres."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres import migrations, sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import TestDatabases


async def names(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch("SELECT relname FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = "
                                       "'public'::regnamespace")  # fmt: skip
    finally:
        await connection.close()
    return {row["relname"] for row in found}


async def test_migrations_are_applied_once(fresh_database: str) -> None:
    expected = [f"{migration.version:04d}_{migration.name}" for migration in sql.migrations()]
    assert await migrations.migrate(fresh_database, timeout=10) == expected
    before = await names(fresh_database)
    assert {"leaderboard", "accounts", "schema_migrations", "leaderboard_region_score", "leaderboard_name"} <= before
    assert await migrations.migrate(fresh_database, timeout=10) == []
    assert await names(fresh_database) == before


async def test_migrations_of_many_processes_at_once_are_applied_once(fresh_database: str) -> None:
    results = await asyncio.gather(*(migrations.migrate(fresh_database, timeout=10) for _ in range(6)))
    assert sorted(len(result) for result in results) == [0] * 5 + [len(sql.migrations())]


async def test_missing_databases_are_made_by_whoever_comes_first(test_databases: TestDatabases) -> None:
    wanted = test_databases.infra.dsn(f"{test_databases.prefix}_made here")
    try:
        made = await asyncio.gather(*(migrations.ensure_database(wanted, timeout=10) for _ in range(4)))
        assert sum(made) == 1
        assert await migrations.ensure_database(wanted, timeout=10) is False
        assert await names(wanted) == set()
    finally:
        await test_databases.execute(f'DROP DATABASE IF EXISTS "{test_databases.prefix}_made here" WITH (FORCE)')


async def test_a_migration_that_fails_leaves_nothing_behind(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = sql.Migration(9999, "broken", "CREATE TABLE half_done (x int); SELECT 1 / 0")
    real = sql.migrations()
    monkeypatch.setattr(sql, "migrations", lambda: (*real, broken))
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrations.migrate(fresh_database, timeout=10)
    assert "half_done" not in await names(fresh_database)
    monkeypatch.undo()
    assert await migrations.migrate(fresh_database, timeout=10) == [], "the others were applied, the lock is free"


async def test_the_table_is_that_of_the_design(databases: RegionDatabases) -> None:
    columns = await databases["EU"].fetch(
        "SELECT column_name, data_type, character_maximum_length, is_nullable "
        "FROM information_schema.columns WHERE table_name = 'leaderboard' ORDER BY ordinal_position"
    )
    assert [tuple(column) for column in columns] == [
        ("user_id", "text", None, "NO"),
        ("name", "character varying", 200, "NO"),
        ("region", "character varying", 50, "NO"),
        ("score", "bigint", None, "NO"),
        ("updated_at", "timestamp without time zone", None, "YES"),
        ("protected", "boolean", None, "NO"),  # decision 4
        ("last_key", "text", None, "NO"),  # section 3
        ("credential", "text", None, "NO"),  # decision 19
        *(("submits", "integer", None, "NO"), ("metadata", "text", None, "NO")),  # decision 26
    ]
    find = "SELECT indexdef FROM pg_indexes WHERE indexname = 'leaderboard_region_score'"
    index = await databases["EU"].fetchval(find)
    assert 'region, score DESC, user_id COLLATE "C" DESC' in index


async def test_the_table_of_entries_is_that_of_the_design(databases: RegionDatabases) -> None:
    columns = await databases["EU"].fetch(
        "SELECT column_name, data_type, character_maximum_length, is_nullable, collation_name "
        "FROM information_schema.columns WHERE table_name = 'entries' ORDER BY ordinal_position"
    )
    assert [tuple(column) for column in columns] == [
        ("user_id", "text", None, "NO", None),
        ("board_id", "bigint", None, "NO", None),
        ("board_window", "text", None, "NO", None),
        ("region", "character varying", 50, "NO", None),
        ("key", "bigint", None, "NO", None),
        ("member", "text", None, "NO", "C"),
        ("updated_at", "timestamp without time zone", None, "NO", None),
        ("submits", "integer", None, "NO", None),
        ("base_at", "timestamp without time zone", None, "YES", None),
        ("best", "boolean", None, "NO", None),
        ("removed", "boolean", None, "NO", None),
        ("metadata", "text", None, "NO", None),
        ("last_key", "text", None, "NO", None),
    ]
    indexes = await databases["EU"].fetch(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'entries' ORDER BY indexname"
    )
    assert [row["indexdef"].partition(" USING btree ")[2] for row in indexes] == [
        "(board_id, board_window, region, key DESC, member DESC) WHERE (NOT removed)",
        "(user_id, board_id, board_window)",
        "(board_id, user_id) WHERE removed",
        "(updated_at, user_id, board_id, board_window)",
    ]


TABLES_OF_ROWS = sorted(name for name in sql.queries() if name.startswith("rows_of_"))


@pytest.mark.parametrize("name", sorted(sql.queries().keys() - set(TABLES_OF_ROWS)))
async def test_every_statement_is_understood(databases: RegionDatabases, name: str) -> None:
    async with databases["EU"].acquire() as connection:
        for rows in TABLES_OF_ROWS if "@rows@" in sql.load(name) else ("",):
            await connection.prepare(sql.load_over(rows, name) if rows else sql.load(name))


async def test_every_statement_is_used() -> None:
    root = Path(sql.__file__).parents[3]
    packages = ("leaderboard_core", "leaderboard_service", "worker_service", "leaderboard_cli")
    sources = "".join(path.read_text("utf-8") for package in packages for path in (root / package).rglob("*.py"))
    assert [name for name in sql.queries() if f'"{name}"' not in sources] == []


async def test_connections_are_not_made_before_they_are_needed() -> None:
    unreachable = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "1"}
    opened = await RegionDatabases.open(load(TopologySettings, unreachable))
    try:
        problem = await opened.reachable("EU")
        assert problem is not None
        assert "Connect" in problem
    finally:
        await opened.close()


async def test_what_the_driver_calls_its_own_fault_is_a_store_that_is_unavailable(databases: RegionDatabases) -> None:
    """It says so of a connection that broke while it was being given back, which was a 500 once."""
    with pytest.raises(Unavailable):
        async with databases.answering():
            raise asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")
