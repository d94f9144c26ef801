"""The circuit breaker of a real shard: a connection that breaks is one failure, a server that is away opens it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from leaderboard_core.errors import Unavailable
from leaderboard_core.redis.breaker import FAILURES
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.support.infrastructure import Infrastructure
from tests.support.proxy import Proxy, proxy
from tests.support.waiting import eventually

CALLS = 5
CALL = ("release_claim", ("breaker-test:claim",), ("nobody",))


@pytest.fixture
async def between(infra: Infrastructure) -> AsyncIterator[Proxy]:
    async with proxy(infra.redis_urls[0]) as between:
        yield between


@pytest.fixture
async def shard(between: Proxy) -> AsyncIterator[Shard]:
    shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": between.url, "REDIS_TIMEOUT_SECONDS": "5"}))
    yield shard_map.shards[0]
    await shard_map.close()


async def in_flight(shard: Shard, between: Proxy) -> list[asyncio.Task[object]]:
    """Make CALLS calls whose answers are held back."""
    await shard.run(*CALL)
    between.hold_answers()
    seen = between.answers_seen
    calls = [asyncio.create_task(shard.run(*CALL)) for _ in range(CALLS)]

    async def answered() -> bool:
        return between.answers_seen > seen

    await eventually(answered)
    return calls


async def test_a_connection_that_breaks_under_several_calls_is_one_failure(shard: Shard, between: Proxy) -> None:
    calls = await in_flight(shard, between)
    await between.drop_clients()
    between.release_answers()
    failed = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in failed] == [Unavailable] * CALLS
    assert not shard.breaker.is_open
    await shard.run(*CALL)  # at once, over a new connection


async def test_a_server_that_is_away_opens_it(shard: Shard, between: Proxy) -> None:
    await shard.run(*CALL)
    await between.cut()
    for _ in range(FAILURES):
        with pytest.raises(Unavailable, match="may have been done"):
            await shard.run(*CALL)
    with pytest.raises(Unavailable, match="nothing was done"):
        await shard.run(*CALL)
    await between.open()

    async def answers() -> bool:
        try:
            await shard.run(*CALL)
        except Unavailable:
            return False
        return True

    await eventually(answers)
    assert not shard.breaker.is_open
