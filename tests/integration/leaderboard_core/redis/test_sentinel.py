"""Test a Redis that is found by real Sentinels, through a real failover."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start
from tests.support.own_redis import OwnRedis
from tests.support.replication import client_of, follow
from tests.support.sentinels import SERVICE, sentinels
from tests.support.waiting import eventually
from tests.support.worker import rows, working


async def test_after_a_failover_the_new_master_is_found(
    start: Start, environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis, tmp_path: Path
) -> None:
    second = OwnRedis(tmp_path / "second")
    second.start()
    try:
        async with client_of(second) as replica:
            await follow(replica, own_redis)
            with sentinels(tmp_path, own_redis) as ports:
                nodes = ",".join(f"127.0.0.1:{port}" for port in ports)
                own = {**environ, "REDIS_URL": f"redis+sentinel://{nodes}/{SERVICE}", "REDIS_TIMEOUT_SECONDS": "2"}
                api = await start(**own)
                token = await api.register("alice", "EU", 1)
                async with working(own, heartbeats=True):
                    assert (await api.post("/score/add", {"delta": 1}, token=token)).json()["score"] == 2
                    await eventually(lambda: saved(databases, 2), "the row")
                    own_redis.signal(signal.SIGSTOP)
                    try:

                        async def takes_writes() -> bool:
                            done = await api.post("/score/add", {"delta": 0}, token=token)
                            assert done.status_code in (200, 503)
                            return done.status_code == 200

                        await eventually(takes_writes, "writes to the new master", seconds=30)
                        with second.client() as promoted:
                            assert promoted.info("replication")["role"] == "master"
                        assert (await api.post("/score/add", {"delta": 1}, token=token)).json()["score"] == 3
                    finally:
                        own_redis.signal(signal.SIGCONT)
                    # The old one comes back, and is made a replica of the new one: nothing goes to it.
                    await eventually(takes_writes, "writes", seconds=10)
                    await eventually(lambda: saved(databases, 3), "the row")
                assert await api.scores() == {"alice": 3}
    finally:
        second.stop()


async def saved(databases: RegionDatabases, score: int) -> bool:
    found = await rows(databases)
    return "alice" in found and found["alice"][1] == score


async def test_what_is_no_sentinel_is_unavailable_and_named(
    environ: dict[str, str], own_redis: OwnRedis, tmp_path: Path
) -> None:
    port = urlsplit(own_redis.url).port
    environ = {**environ, "REDIS_URL": f"redis+sentinel://:secret@127.0.0.1:{port},127.0.0.1:1/other"}
    shard_map = ShardMap.open(load(TopologySettings, environ))
    (shard,) = shard_map.shards
    try:
        with pytest.raises(Unavailable):
            await shard.look()
        problem = await shard.reachable()
        assert problem is not None
        assert "unknown command 'SENTINEL'" in problem  # it is a Redis
        assert shard.name == f"redis://:***@127.0.0.1:{port}/ other"
    finally:
        await shard_map.close()
