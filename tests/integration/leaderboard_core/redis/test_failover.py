"""A failover behind an address that keeps old connections, and what each refusal of a real Redis means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.error_codes import MEANINGS
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from leaderboard_core.telemetry.health import HealthProbe
from tests.conftest import admit
from tests.support.own_redis import OwnRedis
from tests.support.replication import behind_one_address, client_of, follow, promote
from tests.support.service import running_service
from tests.support.waiting import eventually
from tests.support.worker import working

ENDPOINT = ("127.0.0.1", "redis://")
"""What belongs to operators: no client is to see it."""


@pytest.fixture
def second(tmp_path: Path) -> OwnRedis:
    return OwnRedis(tmp_path / "second")


@pytest.fixture
async def shard(own_redis: OwnRedis) -> AsyncIterator[Shard]:
    shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": own_redis.url}))
    yield shard_map.shards[0]
    await shard_map.close()


async def test_a_failover_behind_a_proxy_that_keeps_connections_is_followed(
    environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis, second: OwnRedis
) -> None:
    """Service and worker hold connections to the demoted server, which never breaks them."""
    async with (
        behind_one_address(environ, databases, own_redis, second) as (front, a, b, own),
        running_service(own) as api,
        working(own, heartbeats=True),
    ):
        token = await api.register("alice", "EU", 10)
        assert (await api.get("/health")).status_code == 200
        assert await a.wait(1, 5000) == 1
        await promote(b)
        await follow(a, second)

        async def shown() -> Any:
            health = (await api.get("/health")).json()
            return not health["ok"] and health["redis"][0].get("refuses_writes")

        assert await eventually(shown, "the health of a replica") == MEANINGS["READONLY"].health
        refused = await api.post("/score/add", {"delta": 1}, token=token)
        assert (refused.status_code, refused.json()["error"]) == (503, "unavailable")
        front.lead_to(second.url)

        async def written() -> bool:
            return (await api.post("/score/add", {"delta": 5}, token=token)).status_code == 200

        await eventually(written, "a write to the new primary", seconds=15)
        assert await b.hget("user:alice", "score") == "15"
        await eventually(lambda: _is_well(api), "a healthy service")


async def _is_well(api: Any) -> bool:
    return bool((await api.get("/health")).status_code == 200)


@pytest.mark.serial  # a second and half of one more is not much on a busy machine
async def test_a_service_that_only_reads_leaves_a_demoted_server(
    environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis, second: OwnRedis
) -> None:
    """It has older data, and neither a write nor a new connection tells; within a second of the demotion."""
    second.start()
    try:
        own = {**environ, "REDIS_URL": own_redis.url}
        await admit(own, databases)
        async with running_service(own) as api, client_of(own_redis) as a, client_of(second) as b:
            await api.register("alice", "EU", 10)
            assert (await api.get("/top")).headers["x-leaderboard-source"] == "redis"
            await follow(b, own_redis)
            await promote(b)
            await follow(a, second)

            async def from_postgres() -> bool:
                read = await api.get("/top")
                return bool(read.headers["x-leaderboard-source"] == "postgres")

            await eventually(from_postgres, "reads from Postgres", seconds=1.5)
    finally:
        second.stop()


async def test_what_is_in_flight_when_connections_are_left_gets_its_answer(shard: Shard, own_redis: OwnRedis) -> None:
    waiting = shard.pipeliner.execute(("BLPOP", "a", 5))
    pooled = asyncio.create_task(shard.command("BLPOP", "b", 5))
    with own_redis.client() as client:

        def blocked() -> bool:
            return int(client.info("clients")["blocked_clients"]) == 2

        await eventually(blocked, "two blocked commands")
        mine, others = int(client.client_id()), {int(each["id"]) for each in client.client_list()}
        shard.leave_connections()
        assert await shard.pipeliner.execute(("PING",)) == "PONG", "a new connection does not wait for the old one"
        client.rpush("a", "1")
        client.rpush("b", "2")
        assert await waiting == ["a", "1"]
        assert list(await pooled) == ["b", "2"]
        await shard.command("TIME")

        def left() -> bool:
            return {int(each["id"]) for each in client.client_list()} & others == {mine}

        await eventually(left, "the end of every old connection")


def _replica(client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", 1)


def _lost_replica(client: redis.Redis) -> None:
    client.config_set("replica-serve-stale-data", "no")
    client.replicaof("127.0.0.1", 1)


def _no_write(client: redis.Redis) -> None:
    client.acl_setuser("default", commands=["-set"], enabled=True, keys=["*"], nopass=True)


def _no_info(client: redis.Redis) -> None:
    client.acl_setuser("default", commands=["-info"], enabled=True, keys=["*"], nopass=True)


def _password(client: redis.Redis) -> None:
    client.config_set("requirepass", "secret")


def _full(client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)


def _no_replicas(client: redis.Redis) -> None:
    client.config_set("min-replicas-to-write", 1)


@dataclass(frozen=True)
class Case:
    begin: Callable[[redis.Redis], None]
    call: tuple[str, ...]
    code: str


CASES = {
    "replica": Case(_replica, ("SET", "x", "1"), "READONLY"),
    "replica without its primary": Case(_lost_replica, ("GET", "x"), "MASTERDOWN"),
    "a command in a script": Case(_no_info, ("look_at_server",), "NOPERM"),
    "a command": Case(_no_write, ("SET", "x", "1"), "NOPERM"),
    "password": Case(_password, ("GET", "x"), "NOAUTH"),
    "memory": Case(_full, ("SET", "x", "1"), "OOM"),
    "replicas": Case(_no_replicas, ("SET", "x", "1"), "NOREPLICAS"),
}


@pytest.mark.parametrize("name", CASES)
async def test_each_refusal_has_one_meaning(
    name: str, shard: Shard, own_redis: OwnRedis, databases: RegionDatabases, caplog: pytest.LogCaptureFixture
) -> None:
    case = CASES[name]
    meaning = MEANINGS[case.code]
    with own_redis.client() as client:
        case.begin(client)

        async def call() -> object:
            if case.call[0] == "look_at_server":
                return await shard.look()
            return await shard.command(*case.call)

        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await call()
        assert caught.value.message == meaning.client
        assert not any(word in caught.value.message for word in ENDPOINT)
        (note,) = caught.value.__notes__
        assert note.startswith("REDIS_URL: ")
        assert f"{meaning.health} ({case.code}): {meaning.remedy}" in note
        assert f"REDIS_URL: {meaning.health} ({case.code}): {meaning.remedy}" in caplog.text
        assert shard.breaker.is_open is meaning.away
        health = await HealthProbe(ShardMap([shard]), databases).stores()
        (entry,) = health.redis
        assert not entry["ok"]
        assert entry["error" if meaning.away else "refuses_writes"] == meaning.health


async def test_a_wrong_password_is_said_at_the_start(own_redis: OwnRedis) -> None:
    with own_redis.client() as client:
        client.execute_command("ACL SETUSER", "game", "on", ">right", "~*", "+@all")
    url = own_redis.url.replace("redis://", "redis://game:wrong@")
    shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": url}))
    try:
        with pytest.raises(Unavailable, match=r"^REDIS_URL: cannot reach Redis at .*\(WRONGPASS\)") as caught:
            await shard_map.wait_until_reachable(asyncio.get_running_loop().time(), lambda _: None)
        assert "wrong@" not in str(caught.value)
        with pytest.raises(Unavailable) as seen:
            await shard_map.shards[0].look()
        assert seen.value.message == MEANINGS["WRONGPASS"].client
    finally:
        await shard_map.close()
