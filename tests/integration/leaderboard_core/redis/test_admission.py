"""A Redis is read and written only in the life in which a worker has compared it with Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis import lua
from leaderboard_core.redis.admission import Admission
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, WorkerSettings, load
from tests.conftest import admit
from tests.support.own_redis import OwnRedis
from tests.support.replication import behind_one_address, client_of, follow, promote
from tests.support.service import Api, running_service
from tests.support.waiting import eventually
from tests.support.worker import drained, working
from worker_service.recovery.rebuild import Lives, rebuild
from worker_service.recovery.restore import RebuildInterrupted


@pytest.fixture
def second(tmp_path: Path) -> OwnRedis:
    """Another Redis of the test's own, not started."""
    return OwnRedis(tmp_path / "second")


@asynccontextmanager
async def demoted_without_the_last_write(
    environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis, second: OwnRedis
) -> AsyncIterator[tuple[Api, Api, str, redis.Redis]]:
    """A (the test's Redis) is B's replica, and B lacks the write that made alice's score 100; Postgres has it.

    Yields two services that have written to A, of which one called it since, alice's token and A's client.
    """
    second.start()
    try:
        async with client_of(second) as b:
            await follow(b, own_redis)  # the first replica ever gives its master another replid
        await admit(environ, databases)
        async with (
            running_service(environ) as api,
            running_service(environ) as idle,
            client_of(own_redis) as a,
            client_of(second) as b,
        ):
            token = await api.register("alice", "EU", 10)
            assert (await idle.post("/score/add", {"delta": 0}, token=token)).status_code == 200
            async with working(environ):
                await drained(a)
            assert await a.wait(1, 5000) == 1
            await promote(b)
            assert (await api.post("/score/add", {"delta": 90}, token=token)).json()["score"] == 100
            async with working(environ):
                await drained(a)
            await follow(a, second)
            refused = await api.post("/score/add", {"delta": 1}, token=token)
            assert (refused.status_code, refused.json()["error"]) == (503, "unavailable")
            yield api, idle, token, a
    finally:
        second.stop()


@pytest.fixture
def own_environ(environ: dict[str, str], own_redis: OwnRedis) -> dict[str, str]:
    return {**environ, "REDIS_URL": own_redis.url, "WORKER_TIMEOUT_SECONDS": "4"}


async def test_a_server_that_is_promoted_again_is_cold_for_who_saw_it_demoted(
    own_environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis, second: OwnRedis
) -> None:
    """Its run_id and its scripts are those of before; the last write is gone, and no worker has looked yet."""
    async with demoted_without_the_last_write(own_environ, databases, own_redis, second) as (api, _, token, a):
        run_id = (await a.info("server"))["run_id"]
        await promote(a)
        assert await a.hget("user:alice", "score") == "10"
        refused = await api.post("/score/add", {"delta": 1}, token=token)
        assert (refused.status_code, refused.json()["error"]) == (503, "warming_up")
        read = await api.get("/rank/alice")
        assert (read.json()["score"], read.headers["x-leaderboard-source"]) == (100, "postgres")
        assert (await a.info("server"))["run_id"] == run_id
        assert str(await a.get("shard:admission")).startswith("closed ")


@pytest.mark.serial  # a second and half of one more is not much on a busy machine
async def test_a_worker_finds_a_failback_within_a_second(
    own_environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis, second: OwnRedis
) -> None:
    """Also for processes that made no call meanwhile; then the lost write comes back from Postgres."""
    async with (
        demoted_without_the_last_write(own_environ, databases, own_redis, second) as (api, idle, token, a),
        working(own_environ, "worker-2", heartbeats=True),
    ):
        before = await a.get("shard:admission")
        await promote(a)

        async def found() -> bool:
            return await a.get("shard:admission") != before

        await eventually(found, "a look at the promoted server", seconds=1.5)

        async def admitted() -> bool:
            return (await idle.post("/score/add", {"delta": 0}, token=token)).status_code == 200

        await eventually(admitted)
        for one in (idle, api):
            assert (await one.get("/rank/alice")).json()["score"] == 100
        assert (await api.post("/score/add", {"delta": 1}, token=token)).json()["score"] == 101


async def test_a_new_connection_to_another_life_is_a_reason_to_look(
    environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis, second: OwnRedis
) -> None:
    """Behind one address stands another server: it has the scripts, and an admission that names the first one."""
    async with (
        behind_one_address(environ, databases, own_redis, second) as (front, a, b, own),
        running_service(own) as api,
    ):
        token = await api.register("alice", "EU", 10)
        assert await a.wait(1, 5000) == 1
        await promote(b)
        assert (await api.post("/score/add", {"delta": 5}, token=token)).json()["score"] == 15
        for script in await _scripts(api):
            await b.script_load(script)
        assert await a.get("shard:admission") == await b.get("shard:admission")
        await front.cut()
        front.lead_to(second.url)
        await front.open()
        refused = await api.post("/score/add", {"delta": 1}, token=token)
        assert (refused.status_code, refused.json()["error"]) == (503, "warming_up")
        assert await b.hget("user:alice", "score") == "10"


async def _scripts(api: Api) -> list[str]:
    shard = api.services.shard_map.shards[0]
    state = await shard.look()
    return [script.under(state.text).source for script in lua.all_scripts().values()]


async def test_a_replica_is_neither_written_nor_admitted(
    environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis, second: OwnRedis
) -> None:
    second.start()
    try:
        own = {**environ, "REDIS_URL": second.url}
        async with client_of(second) as b:
            await follow(b, own_redis)
            with pytest.raises(RebuildInterrupted, match="replica"):
                await admit(own, databases)
            async with running_service(own) as api:
                refused = await api.try_register("alice", "EU")
                assert (refused.status_code, refused.json()["error"]) == (503, "unavailable")
            await promote(b)
            await admit(own, databases)
            async with running_service(own) as api:
                await api.register("alice", "EU")
    finally:
        second.stop()


async def test_an_admission_waits_for_clocks_that_are_ahead(
    environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    """But for the first one of all, which has no earlier life behind it."""
    loop = asyncio.get_running_loop()
    long, settings = (load(WorkerSettings, {"CLOCK_SKEW_SECONDS": seconds}) for seconds in ("30", "1.5"))
    shard_map = ShardMap.open(load(TopologySettings, environ))
    shard, lives = shard_map.shards[0], Lives()
    try:
        started = loop.time()
        await rebuild(shard, databases, long, lives=lives)
        assert loop.time() - started < 20
        await redis_1.delete("shard:admission")
        seen_before = Lives()
        seen_before.saw(shard, await shard.look())
        started = loop.time()
        await rebuild(shard, databases, settings, lives=seen_before)
        assert loop.time() - started >= 1.4
    finally:
        await shard_map.close()


async def test_a_policy_that_evicts_is_not_admitted_unless_that_is_wanted(
    environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis
) -> None:
    own = {**environ, "REDIS_URL": own_redis.url}
    shard_map = ShardMap.open(load(TopologySettings, own))
    shard = shard_map.shards[0]
    try:
        with own_redis.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(RebuildInterrupted, match="allkeys-lru"):
            await rebuild(shard, databases, load(WorkerSettings, {}))
        assert not await shard.is_ready()
        await rebuild(shard, databases, load(WorkerSettings, {"ALLOW_EVICTION": "true"}))
        assert await shard.is_ready()
    finally:
        await shard_map.close()


def test_an_admission_that_cannot_be_read_is_none() -> None:
    """It becomes a part of scripts; what a later version adds behind it is read over."""
    admission = Admission("n", ("EU", "NA"), "a1", "b2")
    assert Admission.parse(admission.encode()) == admission
    assert Admission.parse(admission.encode() + " later") == admission
    for text in ("", "n", "n EU a1", "n EU a1 b2'", "n EU a1 b2\\", "n EU a1 b2\n", "n EU a1 b2 ]] x"):
        assert Admission.parse(text) is None, text
