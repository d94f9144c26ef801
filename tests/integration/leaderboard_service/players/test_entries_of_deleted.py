"""The deletion of a player takes its entries off every board, all of them or nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis import deletions
from tests.conftest import Start
from tests.support.entries import PLAN, Writer, entries_expected, entries_in, entry_rows, put
from tests.support.redis_dump import dump
from tests.support.waiting import eventually
from tests.support.worker import drained, push, working


async def on_many_boards(client: redis.Redis, user_id: str, boards: int) -> None:
    for number in range(boards):
        field = f"board-{number}.{number + 100}:all"
        await client.hset(f"entries:{user_id}", field, f"{number} - 5 0 0 0")
        for region in ("EU", "GLOBAL"):
            await client.zadd(f"leaderboard:{field}:{region}", {user_id: number})


async def test_it_is_gone_from_every_board_and_from_postgres(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    api, writer, other = await start(), Writer("alice"), Writer("bob")
    await api.register("alice", "EU", 1)
    await api.register("bob", "EU", 1)
    async with working(environ):
        await drained(redis_1)
        for one in (writer, other):
            for operation in PLAN:
                one.do(operation)
            await put(redis_1, one)
            await push(redis_1, *one.events)
        await drained(redis_1)
        assert {user_id for user_id, _ in await entry_rows(databases["EU"])} == {"alice", "bob"}
        assert (await api.delete("alice")).status_code == 200
        assert await entries_in(redis_1) == entries_expected(other)
        assert {user_id for user_id, _ in await entry_rows(databases["EU"])} == {"bob"}
        await push(redis_1, *writer.events)
        await drained(redis_1)
        assert {user_id for user_id, _ in await entry_rows(databases["EU"])} == {"bob"}


async def test_more_entries_than_one_call_takes(start: Start, redis_1: redis.Redis) -> None:
    api = await start()
    await api.register("alice", "EU", 1)
    await on_many_boards(redis_1, "alice", 2 * deletions.ENTRIES_PER_CALL + 1)
    assert (await api.delete("alice")).status_code == 200
    assert await entries_in(redis_1) == {}
    assert await redis_1.exists("user:alice") == 0


@pytest.mark.parametrize("boards", [3, deletions.ENTRIES_PER_CALL + 1])
async def test_a_refused_deletion_takes_no_entry(start: Start, redis_1: redis.Redis, boards: int) -> None:
    api = await start(QUEUE_REJECT_LENGTH=1)
    await api.register("alice", "EU", 1)
    await on_many_boards(redis_1, "alice", boards)
    before = await dump(redis_1)
    assert (await api.delete("alice")).json()["error"] == "queue_full"
    assert await dump(redis_1) == before


async def test_entries_that_are_made_meanwhile_go_too(
    start: Start, redis_1: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what there is and the call that takes the player."""
    api = await start()
    await api.register("alice", "EU", 1)
    await on_many_boards(redis_1, "alice", 2)
    look, made = deletions.entries_of, asyncio.Event()

    async def look_and_write(*words: Any) -> list[str]:
        found = await look(*words)
        if not made.is_set():
            made.set()
            await on_many_boards(redis_1, "alice", 3)
        return found

    monkeypatch.setattr(deletions, "entries_of", look_and_write)
    assert (await api.delete("alice")).status_code == 200
    assert made.is_set()
    assert await entries_in(redis_1) == {}


async def test_a_player_who_came_back_by_a_rebuild_meanwhile_goes_with_its_entries(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    """Postgres has the deletion, and Redis is the one of before it."""
    api, writer = await start(), Writer("alice")
    for operation in PLAN:
        writer.do(operation)
    await api.register("alice", "EU", 1)
    async with working(environ):
        await drained(redis_1)
        await put(redis_1, writer)
        assert (await api.delete("alice")).status_code == 200
        await drained(redis_1)
    await redis_1.delete("deleted:alice", "shard:admission")
    await put(redis_1, writer)
    assert await entries_in(redis_1) == entries_expected(writer)
    async with working(environ, "worker-2", heartbeats=True):

        async def admitted() -> bool:
            return bool(await redis_1.exists("shard:admission"))

        await eventually(admitted)
    assert await entries_in(redis_1) == {}
    assert await redis_1.exists("user:alice") == 0
