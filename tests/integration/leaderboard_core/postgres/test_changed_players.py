"""The pages of changed players: in order, whole, and by the index on a table of some size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import asyncpg
import pytest

from leaderboard_core.events import ScoreEvent
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.changes import page_changed_players
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from leaderboard_core.postgres.migrations import migrate
from worker_service.saving.batch import columns

START = 1_700_000_000_000_000
"""µs"""
PLAYERS = 100_000
FILL = f"""
INSERT INTO leaderboard (user_id, name, region, score, updated_at)
SELECT md5(number::text), 'Player', 'EU', number,
       TIMESTAMP 'epoch' + ({START} + (number::bigint * 7919) % {PLAYERS} * 1000) * INTERVAL '1 microsecond'
FROM generate_series(1, {PLAYERS}) AS number
"""
DELETIONS = f"""
INSERT INTO deleted_players
SELECT md5((7 * number)::text), NOW(), NOW() FROM generate_series(1, {PLAYERS}) AS number
"""


async def put(pool: Pool, *rows: tuple[str, int | None]) -> None:
    for user_id, micros in rows:
        await pool.execute(
            "INSERT INTO leaderboard (user_id, name, region, score, updated_at) VALUES "
            "($1::text, $1::text, 'EU', 7, TIMESTAMP 'epoch' + $2::bigint * INTERVAL '1 microsecond')",
            user_id,
            micros,
        )


async def read(pool: Pool, since: int, rows: int) -> list[Any]:
    """Read all pages."""
    found: list[Any] = []
    place = (since, "")
    while page := await page_changed_players(pool, *place, rows=rows, timeout=10):
        found += page
        place = (page[-1]["micros"], page[-1]["user_id"])
    return found


async def test_pages_begin_and_end_within_one_microsecond(databases: RegionDatabases) -> None:
    pool = databases["EU"]
    at_once = [(f"p{number:02d}", START + 1) for number in range(7)]
    await put(pool, ("old", START - 1), ("z", START), ("B", START), ("a", START), ("by hand", None), *at_once)
    for rows in (1, 2, 3, 100):
        found = await read(pool, START, rows)
        ids = [row["user_id"] for row in found]
        assert sorted(ids[:3]) == ["B", "a", "z"]
        assert ids[3:] == [user_id for user_id, _ in at_once]
        assert [row["micros"] for row in found] == [START] * 3 + [START + 1] * 7


async def test_a_row_is_that_of_page_players(databases: RegionDatabases) -> None:
    pool = databases["EU"]
    await put(pool, ("a", START), ("b", START + 1))
    await pool.execute("UPDATE leaderboard SET last_key = 'key of ' || user_id, protected = user_id = 'b'")
    await pool.execute(
        "INSERT INTO deleted_players SELECT 'b', updated_at - INTERVAL '3 us', updated_at FROM leaderboard "
        "WHERE user_id = 'b'"
    )
    found = await read(pool, START, 100)
    assert [dict(row) for row in found] == [dict(row) for row in await pool.fetch(sql.load("page_players"), "", 100)]
    assert [row["deleted_micros"] for row in found] == [0, START - 2]


async def test_a_row_that_changes_while_pages_are_read_comes_again(databases: RegionDatabases) -> None:
    pool = databases["EU"]
    await put(pool, ("a", START), ("b", START + 1), ("c", START + 2))
    first = await page_changed_players(pool, START, "", rows=2, timeout=10)
    both = [ScoreEvent(user_id, user_id, "EU", score, START + 9, "") for user_id, score in (("a", 8), ("c", 9))]
    await pool.execute(sql.load("upsert_scores"), *columns(both))
    rest = await page_changed_players(pool, first[-1]["micros"], first[-1]["user_id"], rows=9, timeout=10)
    assert [(row["user_id"], row["score"]) for row in first] == [("a", 7), ("b", 7)]
    assert [(row["user_id"], row["score"]) for row in rest] == [("a", 8), ("c", 9)]


async def test_an_exact_time_of_the_far_future_is_kept(databases: RegionDatabases) -> None:
    pool, late = databases["EU"], 2**53 - 1
    await put(pool, ("a", late), ("b", late - 1))
    assert [row["micros"] for row in await read(pool, late - 1, 1)] == [late - 1, late]
    assert [row["user_id"] for row in await read(pool, late, 1)] == ["a"]


@pytest.fixture
async def filled(fresh_database: str) -> AsyncIterator[Any]:
    """A connection to a database with many players, changed in another order than that of their rows."""
    await migrate(fresh_database, timeout=10)
    connection = await asyncpg.connect(fresh_database)
    await connection.execute(FILL)
    await connection.execute(DELETIONS)
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()


async def plan_of(connection: Any, micros: int, user_id: str, rows: int) -> str:
    """Explain the page as a prepared statement is run."""
    await connection.execute(f"PREPARE page (bigint, text, bigint) AS {sql.load('page_changed_players')}")
    lines = await connection.fetch(f"EXPLAIN (ANALYZE) EXECUTE page ({micros}, '{user_id}', {rows})")
    await connection.execute("DEALLOCATE page")
    return "\n".join(line[0] for line in lines)


async def test_a_page_is_read_by_the_index(filled: Any) -> None:
    for plans, share in product(("force_custom_plan", "force_generic_plan"), (0.0, 0.5, 0.99)):
        await filled.execute(f"SET plan_cache_mode = {plans}")
        plan = await plan_of(filled, START + int(PLAYERS * share) * 1000, "8", 500)
        assert "leaderboard_updated_at" in plan, plan
        assert "Seq Scan" not in plan, plan
        assert "Join" not in plan, plan
        assert "Filter" not in plan, "both parts of the place are conditions of the index: " + plan
        # What is left at the end is so little that it may also be sorted.
        assert share > 0.9 or "Sort" not in plan, plan


async def test_the_page_without_the_index_is_right_as_well(filled: Any) -> None:
    await filled.execute("DROP INDEX leaderboard_updated_at")
    assert "Seq Scan" in await plan_of(filled, START, "", 500), "the plan of the test above can be another"
    statement = sql.load("page_changed_players")
    page = await asyncio.wait_for(filled.fetch(statement, START + 99_990_000, "", 500), 10)
    assert [row["micros"] for row in page] == [START + 99_990_000 + step * 1000 for step in range(10)]
