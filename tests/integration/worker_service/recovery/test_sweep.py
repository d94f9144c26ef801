"""What is left of a board that is gone is taken out of Redis and Postgres, whatever dies or comes late meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis.asyncio as redis
from prometheus_client import REGISTRY

from leaderboard_core.boards import Board, Definition, Rules
from leaderboard_core.entries import Entry, encode
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.definitions import define
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start
from tests.support.all_redis import AllRedis
from tests.support.entries import START, as_json
from tests.support.proxy import proxy
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import drained, working
from worker_service.recovery.sweep import CLAIM_SECONDS, ENTRIES_PER_CALL, Interrupted, Sweeper

KILLS = Board("kills", 1, 1, Rules(operator="best"))
COINS = Board("coins", 2, 1, Rules(operator="sum", ties="earliest", regions=False))
OF_ANOTHER = f"laps.9:all {START} 7 0"
PLAYERS = {"alice": "EU", "bob": "EU", "carol": "NA", "dave": "ASIA"}


@dataclass
class System:
    """A running service, and the boards and entries that a test makes with it."""

    api: Api
    map: ShardMap
    databases: RegionDatabases

    async def define(self, board: Board) -> None:
        rules = {"operator": board.rules.operator, "ties": board.rules.ties, "regions": board.rules.regions}
        assert (await self.api.define(rules, board.name)).status_code == 201

    async def delete(self, board: Board) -> None:
        headers = {"Authorization": f"Bearer {self.api.admin_token()}"}
        assert (await self.api.http.delete(f"/boards/{board.name}", headers=headers)).status_code == 200

    async def enter(self, board: Board, user_id: str, region: str, *, removed: bool = False) -> None:
        """Write an entry as a service will: hash, sets and event."""
        shard = self.map.shard_of(region, user_id)
        entry = Entry(user_id, board.id, board.name, "all", 5, board.member_of(user_id, START), START)
        if removed:
            entry = replace(entry, key=0, member="", base_at=START, removed=True)
        field = f"{board.name}.{board.id}:all"
        await shard.client.hset(shard.keys.entries(user_id), field, encode(entry))
        # As if it had come back; and one of a board that is there.
        kept = str(await shard.client.hget(shard.keys.user(user_id), "returned_entries") or OF_ANOTHER)
        await shard.client.hset(shard.keys.user(user_id), "returned_entries", f"{kept}\n{field} {START} 7 0")
        places = ("GLOBAL", region) if board.rules.regions else ("GLOBAL",)
        for place in () if removed else places:
            await shard.client.zadd(shard.keys.entry_set(field, place), {entry.member: entry.key})
        fields = {"user_id": user_id, "name": user_id, "region": region, "timestamp": START, "request_id": "r"}
        await shard.client.lpush(shard.keys.queue(region), json.dumps({**fields, "entries": [as_json(entry)]}))

    async def traces(self, board: Board) -> list[str]:
        """Name what Redis and Postgres have of a board."""
        found, name = [], f"{board.name}.{board.id}:"
        for shard in self.map.shards:
            found += [key async for key in shard.client.scan_iter(f"*leaderboard:{name}*")]
            async for key in shard.client.scan_iter("*entries:*"):
                found += [
                    f"{key} {field}" for field in map(str, await shard.client.hkeys(key)) if field.startswith(name)
                ]
            async for key in shard.client.scan_iter("*user:*"):
                if await shard.client.type(key) == "hash":
                    kept = str(await shard.client.hget(key, "returned_entries") or OF_ANOTHER).split("\n")
                    assert kept[0] == OF_ANOTHER
                    found += [f"{key} {line}" for line in kept if line.startswith(name)]
        for region in self.databases.regions:
            rows = await self.databases[region].fetch("SELECT user_id FROM entries WHERE board_id = $1", board.id)
            found += [row["user_id"] for row in rows]
        return sorted(found)

    def sweeper(self) -> Sweeper:
        return Sweeper(self.map, self.databases, asyncio.Event())

    async def let_time_pass(self) -> None:
        """Claims have expired then, and everybody has heard of what is gone."""
        await self.databases["GLOBAL"].execute(
            "UPDATE dead_boards SET claimed_until = NULL, gone_at = gone_at - INTERVAL '2 minutes'"
        )

    async def swept(self) -> bool:
        return bool(await self.databases["GLOBAL"].fetchval("SELECT bool_and(swept_at IS NOT NULL) FROM dead_boards"))


@pytest.fixture
async def any_system(any_api: Api, all_redis: AllRedis, databases: RegionDatabases) -> System:
    return System(any_api, all_redis.shard_map, databases)


@pytest.fixture
async def system(api: Api, all_redis: AllRedis, databases: RegionDatabases) -> System:
    return System(api, all_redis.shard_map, databases)


async def test_nothing_is_left_of_a_board_that_is_gone(
    any_system: System, environ: dict[str, str], all_redis: AllRedis
) -> None:
    system = any_system
    for board in (KILLS, COINS):
        await system.define(board)
    for user_id, region in PLAYERS.items():
        await system.api.register(user_id, region)
        await system.enter(KILLS, user_id, region, removed=user_id == "bob")
        await system.enter(COINS, user_id, region)
    async with working(environ, heartbeats=True):
        await drained(*(shard.client for shard in system.map.shards))
        before = await system.traces(COINS)
        assert len(await system.traces(KILLS)) > len(before) > len(PLAYERS)
        await system.delete(KILLS)

        async def is_gone() -> bool:
            return await system.traces(KILLS) == []

        await eventually(is_gone, seconds=15)
        assert not await system.swept(), "somebody may not have heard of it"
        await system.let_time_pass()
        await eventually(system.swept, seconds=15)
    assert await system.traces(COINS) == before
    assert await system.api.scores() == dict.fromkeys(PLAYERS, 0)
    await system.delete(COINS)
    assert await system.sweeper().sweep_one()
    assert await system.traces(COINS) == []


def left_out() -> float:
    """How many entries of EU were left out so far."""
    return REGISTRY.get_sample_value("leaderboard_entries_of_no_board_total", {"region": "EU"}) or 0.0


async def test_events_of_a_board_that_is_gone_do_not_reach_the_next_one_of_its_name(
    any_system: System, environ: dict[str, str]
) -> None:
    system, before = any_system, left_out()
    await system.define(KILLS)
    for user_id in ("alice", "bob"):
        await system.api.register(user_id, "EU")
        await system.enter(KILLS, user_id, "EU", removed=user_id == "bob")
    await system.delete(KILLS)
    await system.define(KILLS)  # its id is another
    assert await system.sweeper().sweep_one()
    async with working(environ):
        await drained(*(shard.client for shard in system.map.shards))
    assert left_out() - before == 2
    assert await system.traces(KILLS) == []
    again = replace(KILLS, id=2)
    found = (await system.api.get("/boards/kills")).json()
    assert set(found["entries"].values()) == {0}
    assert await system.traces(again) == []
    await system.enter(again, "alice", "EU")
    async with working(environ):
        await drained(*(shard.client for shard in system.map.shards))
    assert "alice" in await system.traces(again)
    assert (await system.api.get("/boards/kills")).json()["entries"]["GLOBAL"] == 1


async def test_rows_that_came_after_all_are_found(system: System) -> None:
    """A worker could not ask GLOBAL's database whether their board is gone."""
    await system.define(KILLS)
    await system.delete(KILLS)
    sweeper = system.sweeper()
    assert await sweeper.sweep_one()
    assert not await system.swept(), "somebody may not have heard of it"
    await system.let_time_pass()
    assert await sweeper.sweep_one()
    assert await system.swept()
    for user_id, region, removed in (("alice", "EU", False), ("carol", "NA", True)):
        await system.databases[region].execute(
            "INSERT INTO entries (user_id, board_id, board_window, region, key, member, updated_at, removed) "
            "VALUES ($1, 1, 'all', $2, 5, $1, now(), $3), ($1, 77, 'all', $2, 5, $1, now(), $3)",
            *(user_id, region, removed),
        )
        assert not await sweeper.sweep_one()
        await sweeper.look_for_late_rows()
        assert await sweeper.sweep_one()
        assert await system.traces(KILLS) == []
        await system.let_time_pass()
        assert await sweeper.sweep_one()
    # Of a board of which nobody said that it is gone nothing is deleted.
    assert await system.traces(replace(KILLS, id=77)) == ["alice", "carol"]


async def test_a_sweep_that_was_killed_is_gone_on_with(system: System) -> None:
    await system.define(KILLS)
    await system.api.register("alice", "EU")
    (shard,) = system.map.shards
    # So many that it cannot be at its end by the time it is seen to have begun.
    players = [f"p{number}" for number in range(50 * ENTRIES_PER_CALL)]
    for name in ("leaderboard:kills.1:all:EU", "leaderboard:kills.1:all:GLOBAL"):
        await shard.client.zadd(name, dict.fromkeys(players, 5))
    await system.delete(KILLS)
    sweeping = asyncio.create_task(system.sweeper().sweep_one())

    async with asyncio.timeout(20):  # look without a pause: it has fifty portions to go by then
        while await shard.client.zcard("leaderboard:kills.1:all:EU") == len(players):
            pass
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert await system.traces(KILLS) != []
    assert not await system.sweeper().sweep_one(), "it was somebody's just now"
    await system.let_time_pass()
    assert await system.sweeper().sweep_one()
    assert await system.traces(KILLS) == []


async def test_a_redis_that_is_away_is_swept_later(
    start: Start, layouts: dict[Any, dict[str, str]], redis_1: redis.Redis, redis_2: redis.Redis
) -> None:
    async with proxy(layouts["two-redis"]["REDIS_URL_EU"]) as between:
        environ = {**layouts["two-redis"], "REDIS_URL_EU": between.url}
        api = await start(layout="two-redis")
        async with system_on(environ, api) as system:
            await system.define(KILLS)
            for user_id, region in PLAYERS.items():
                await api.register(user_id, region)
                await system.enter(KILLS, user_id, region)
            await system.delete(KILLS)
            await between.cut()
            with pytest.raises(Interrupted):
                await system.sweeper().sweep_one()
            await between.open()
            assert {name.rpartition(" ")[0] for name in await system.traces(KILLS)} >= {"entries:alice", "entries:bob"}
            assert not await redis_1.exists("entries:carol")

            async def is_gone() -> bool:
                with contextlib.suppress(Interrupted):  # the connection may still be a broken one
                    await system.sweeper().sweep_one()
                return await system.traces(KILLS) == []

            await eventually(is_gone, "the next look", seconds=CLAIM_SECONDS / 2)


@asynccontextmanager
async def system_on(environ: dict[str, str], api: Api) -> AsyncIterator[System]:
    settings = load(TopologySettings, environ)
    shard_map, databases = ShardMap.open(settings), await RegionDatabases.open(settings)
    try:
        yield System(api, shard_map, databases)
    finally:
        await shard_map.close()
        await databases.close()


async def test_a_redis_that_was_not_told_keeps_its_entries(system: System) -> None:
    """They could still be written to."""
    await system.define(KILLS)
    await system.api.register("alice", "EU")
    await system.enter(KILLS, "alice", "EU")
    (shard,) = system.map.shards
    await system.delete(KILLS)
    await shard.client.set("board:kills", "1 1")
    with pytest.raises(Interrupted, match="not told yet"):
        await system.sweeper().sweep_one()
    assert len(await system.traces(KILLS)) == 4
    await shard.client.delete("board:kills")
    await system.let_time_pass()
    with pytest.raises(Interrupted, match="not told yet"):
        await system.sweeper().sweep_one()
    await define(shard, Definition(KILLS, gone=True))
    await system.let_time_pass()
    assert await system.sweeper().sweep_one()
    assert await system.traces(KILLS) == []
