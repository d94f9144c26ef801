"""Entries come back from Postgres: hashes and sets, merged with what Redis has, of boards that there are."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as redis

from leaderboard_core.entries import Entry, encode
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.fencing import Fence, set_nonce
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.support.entries import (
    BOARDS,
    PLAN,
    RULES,
    START,
    Kind,
    Operation,
    Writer,
    as_json,
    define,
    entries_expected,
    entries_in,
    entry_rows,
    put,
    sets_of,
)
from tests.support.metrics import sample
from tests.support.worker import EAGER, event
from worker_service.recovery import entries as recovery
from worker_service.recovery.rebuild import rebuild
from worker_service.saving.batch import build
from worker_service.saving.upsert import save


@pytest.fixture
async def shard(environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis) -> AsyncIterator[Shard]:
    """One Redis, that is rebuilt with the boards of the tests."""
    await define(databases)
    shard_map = ShardMap.open(load(TopologySettings, environ))
    yield shard_map.shards[0]
    await shard_map.close()


async def saved(databases: RegionDatabases, *events: str) -> None:
    """Have events in Postgres, under whatever admission there is."""
    fence = Fence("EU", "for a test")
    before = await databases["EU"].fetchval("SELECT nonce FROM admissions WHERE region = 'EU'")
    await set_nonce(databases["EU"], fence)
    assert await save(databases["EU"], build(events, "EU"), fence) == []
    if before is not None:
        await set_nonce(databases["EU"], Fence("EU", before))


def written(user_id: str, *plan: Operation) -> Writer:
    writer = Writer(user_id)
    for operation in plan:
        writer.do(operation)
    return writer


async def test_hashes_and_sets_come_back(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_service.recovery.rebuild.PLAYERS_PER_PAGE", 5)
    monkeypatch.setattr(recovery, "PAGE", 5)
    monkeypatch.setattr(recovery, "ENTRIES_PER_CALL", 3)
    writers = [written(f"p{number}", *PLAN[: 2 + number]) for number in range(len(PLAN) - 1)]
    writers.append(written("𝔘 no", *PLAN, ("remove", 18, 0)))
    for writer in writers:
        await saved(databases, *writer.events)
    await rebuild(shard, databases, EAGER)
    assert await entries_in(redis_1) == entries_expected(*writers)
    for writer in writers:
        times = await redis_1.hmget(f"user:{writer.user_id}", "updated_at", "clock")
        assert times == [str(writer.updated_at), str(writer.clock)], "later than all of its entries"
    before = await redis_1.dbsize()
    await rebuild(shard, databases, EAGER, whole=True)
    assert await entries_in(redis_1) == entries_expected(*writers)
    assert await redis_1.dbsize() == before


async def test_entries_of_a_board_that_is_gone_are_left_out_and_counted(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    writer = written("alice", *PLAN)
    await saved(databases, *writer.events)
    before = sample("leaderboard_entries_of_no_board_total", region="EU")
    await databases["GLOBAL"].execute("UPDATE boards SET gone = TRUE WHERE id = 18")
    await rebuild(shard, databases, EAGER)
    assert await entries_in(redis_1) == entries_expected(writer, without=(18,))
    assert sample("leaderboard_entries_of_no_board_total", region="EU") - before == 1


async def test_of_a_redis_that_was_held_only_later_entries_are_read(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "PAGE", 1)
    old, new = written("old", *PLAN[:3]), Writer("new", clock=START + 3600 * 1_000_000)
    for operation in PLAN[:4]:
        new.do(operation)
    await saved(databases, *old.events)
    await rebuild(shard, databases, EAGER)
    for one in (old, new):
        await saved(databases, *one.events)
    await redis_1.delete("entries:old")
    await redis_1.hset("bucket:region:EU", "at", str(START + 1800 * 1_000_000))
    await rebuild(shard, databases, EAGER)
    assert await redis_1.exists("entries:old") == 0
    assert await redis_1.hgetall("entries:new") == entries_expected(new)["entries:new"]


@pytest.mark.parametrize(("one", "other", "expected"), RULES.values(), ids=RULES)
async def test_the_rule(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis, one: Entry, other: Entry, expected: Entry
) -> None:
    await rebuild(shard, databases, EAGER)
    for kept, row in ((one, other), (other, one)):
        await redis_1.hset("user:alice", mapping={"region": "EU", "updated_at": "1", "name": "a", "score": "1"})
        await redis_1.hset("entries:alice", "kills.17:all", encode(kept))
        for name in sets_of(kept, "EU") if not kept.removed else ():
            await redis_1.zadd(name, {kept.member: kept.key})
        raw = event("alice", 1, timestamp=row.clock, entries=[as_json(row)])
        await saved(databases, raw)
        found = await databases["EU"].fetch(
            "SELECT *, (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS micros, "
            "COALESCE(EXTRACT(EPOCH FROM base_at) * 1000000, 0)::bigint AS base_micros FROM entries"
        )
        await recovery.restore_entries(shard, "EU", found, BOARDS)
        assert await redis_1.hgetall("entries:alice") == {"kills.17:all": encode(expected)}
        for name in sets_of(expected, "EU"):
            rows = [] if expected.removed else [(expected.member, float(expected.key))]
            assert await redis_1.zrange(name, 0, -1, withscores=True) == rows
        await redis_1.delete("entries:alice", "user:alice", *sets_of(expected, "EU"))
        await databases["EU"].execute("DELETE FROM entries")


@pytest.mark.parametrize("seed", range(4))
async def test_whichever_of_the_two_is_behind(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis, seed: int
) -> None:
    """One has a player as of its last write, the other as of an earlier one."""
    chance, ends = random.Random(seed), []
    await rebuild(shard, databases, EAGER)
    for number in range(25):
        plan: list[Operation] = [("main", 0, 7)]
        for _ in range(chance.randint(0, 12)):
            kind: Kind = chance.choice(("submit", "submit", "submit", "force", "remove"))
            plan.append((kind, chance.choice((17, 18, 19)), chance.choice((0, 1, 2, 3, -(2**53 - 1)))))
        end = written(f"p{number}", *plan)
        behind = written(f"p{number}", *plan[: chance.randint(1, len(plan))])
        in_redis, in_postgres = (behind, end) if chance.random() < 0.6 else (end, behind)
        await put(redis_1, in_redis)
        await saved(databases, *chance.sample(in_postgres.events, len(in_postgres.events)))
        ends.append(end)
    if seed % 2:
        await redis_1.delete("shard:admission")
    await rebuild(shard, databases, EAGER, whole=True)
    assert await entries_in(redis_1) == entries_expected(*ends)


async def test_what_is_no_entry_of_a_player_who_is_here_is_not_restored(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    """Of nobody, of a player of another region, and of a predecessor."""
    await rebuild(shard, databases, EAGER)
    writers = [written(user_id, *PLAN[:2]) for user_id in ("nobody", "elsewhere", "anew", "here")]
    for writer in writers:
        await saved(databases, *writer.events)
    found = await databases["EU"].fetch(
        "SELECT *, (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS micros, 0::bigint AS base_micros FROM entries"
    )
    for user_id, region, since in (("elsewhere", "NA", 0), ("anew", "EU", writers[2].clock), ("here", "EU", 1)):
        fields: Any = {"region": region, "updated_at": str(START * 2), "name": "a", "score": "1", "since": str(since)}
        await redis_1.hset(f"user:{user_id}", mapping=fields)
    await recovery.restore_entries(shard, "EU", found, BOARDS)
    assert await entries_in(redis_1) == entries_expected(writers[3])
    assert await redis_1.hget("user:here", "clock") is None, "it is later already"


async def test_deletions_take_entries_from_before_them(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    """Redis is older than the deletions in Postgres: one player is gone, one was made anew."""
    await rebuild(shard, databases, EAGER)
    gone, anew = written("gone", *PLAN), written("anew", *PLAN)
    for writer in (gone, anew):
        await put(redis_1, writer)
        await saved(databases, *writer.events)
    begins_anew: list[Operation] = [("main", 0, 1), ("submit", 18, 5)]
    for writer, rest in ((gone, []), (anew, begins_anew)):
        plan: list[Operation] = [("delete", 0, 0), *rest]
        done = len(writer.events)
        for operation in plan:
            writer.do(operation)
        await saved(databases, *writer.events[done:])
    await redis_1.delete("shard:admission")
    await rebuild(shard, databases, EAGER)
    assert await entries_in(redis_1) == entries_expected(anew)
    assert await redis_1.exists("user:gone") == 0
    assert await redis_1.zrange("leaderboard:EU", 0, -1) == ["anew"]
    assert set(await entry_rows(databases["EU"])) == {("anew", 18)}
