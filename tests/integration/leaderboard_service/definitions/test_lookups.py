"""Questions about boards that reach Postgres while Redis is away cost few statements, and are bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from leaderboard_core.boards import Rules
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.definitions import SavedDefinition, state
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from leaderboard_service.definitions.lookups import NAMES_WAITING
from leaderboard_service.definitions.store import DefinitionStore
from tests.support.proxy import Proxy, proxy
from tests.support.waiting import eventually


@pytest.fixture
async def held(environ: dict[str, str], databases: RegionDatabases) -> AsyncIterator[tuple[DefinitionStore, Proxy]]:
    """What reads definitions while Redis is away, and what its questions to GLOBAL's database go through."""
    await state(databases["GLOBAL"], "laps", Rules(), at_most=9)
    async with proxy(environ["DATABASE_URL_GLOBAL"]) as between:
        away = {**environ, "REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL_GLOBAL": between.url}
        away["POSTGRES_TIMEOUT_SECONDS"] = "20"
        topology = load(TopologySettings, away)
        shard_map, through = ShardMap.open(topology), await RegionDatabases.open(topology)
        try:
            yield DefinitionStore(shard_map, through), between
        finally:
            between.release()
            await through.close()
            await shard_map.close()


@pytest.mark.layout("one-redis", why="no Redis is there")
async def test_many_questions_share_few_statements(held: tuple[DefinitionStore, Proxy]) -> None:
    store, between = held
    assert await store.read("nothing") is None
    before = between.answers_seen
    names = [f"board-{number}" for number in range(1_000)]
    found = await asyncio.gather(*map(store.read, [*names, "laps", "laps"]))
    assert found[:-2] == [None] * len(names)
    assert [one.definition.name for one in found[-2:] if one is not None] == ["laps", "laps"]
    assert between.answers_seen - before < 30, "bytes of so many statements came back"


@pytest.mark.layout("one-redis", why="no Redis is there")
async def test_what_comes_while_another_is_asked_for_sees_what_was_stated_before(
    held: tuple[DefinitionStore, Proxy], databases: RegionDatabases
) -> None:
    store, between = held
    assert await store.read("coins") is None
    between.hold_answers()
    seen = between.answers_seen
    first = asyncio.create_task(store.read("coins"))

    async def is_answered() -> bool:
        return between.answers_seen > seen

    await eventually(is_answered)
    await state(databases["GLOBAL"], "coins", Rules(), at_most=9)
    second = asyncio.create_task(store.read("coins"))
    await asyncio.sleep(0)
    between.release_answers()
    assert await first is None
    assert await second is not None


@pytest.mark.layout("one-redis", why="no Redis is there")
async def test_too_many_are_refused_early(held: tuple[DefinitionStore, Proxy]) -> None:
    """Postgres does not answer: one waits for what was asked, as many as may for a second, the others not at all."""
    store, between = held
    assert await store.read("nothing") is None
    lookups = store._lookups
    between.hold()

    async def refused_after(name: str) -> float:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await lookups.read([name])
        return time.monotonic() - began

    first: asyncio.Task[SavedDefinition | None] = asyncio.create_task(store.read("laps"))

    async def is_asked() -> bool:
        return between.held_bytes != b""

    await eventually(is_asked)
    waits = await asyncio.gather(*(refused_after(f"board-{number}") for number in range(NAMES_WAITING + 500)))
    assert sum(wait < 0.9 for wait in waits) == 500
    between.release()
    found = await first
    assert found is not None
    assert found.definition.name == "laps"
