"""Run two Redis servers as primary and replica, and lead an address from one to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from tests.conftest import admit
from tests.support.own_redis import OwnRedis
from tests.support.proxy import Proxy, proxy
from tests.support.waiting import eventually


class Pair(NamedTuple):
    """The address of both, clients of the primary and of its replica, and the environment that names the address."""

    front: Proxy
    a: redis.Redis
    b: redis.Redis
    environ: dict[str, str]


async def follow(replica: redis.Redis, master: OwnRedis, *, through: Proxy | None = None) -> None:
    """Make a server the replica of another, by a proxy or without, and wait until it has its data."""
    port = through.port if through else urlsplit(master.url).port
    with master.client() as client:
        client.config_set("repl-diskless-sync-delay", 0)
    await replica.replicaof("127.0.0.1", port)

    async def in_sync() -> bool:
        found = await replica.info("replication")
        return bool(found["role"] == "slave" and found["master_link_status"] == "up")

    await eventually(in_sync, "a replica in sync")


async def promote(replica: redis.Redis) -> None:
    await replica.replicaof("NO", "ONE")


@asynccontextmanager
async def client_of(server: OwnRedis) -> AsyncIterator[redis.Redis]:
    client = redis.Redis.from_url(server.url, decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def behind_one_address(
    environ: Mapping[str, str], databases: RegionDatabases, primary: OwnRedis, second: OwnRedis
) -> AsyncIterator[Pair]:
    """Make `second` the replica of a primary that an address leads to, and admit the primary."""
    second.start()
    try:
        async with proxy(primary.url) as front, client_of(primary) as a, client_of(second) as b:
            own = {**environ, "REDIS_URL": front.url}
            await follow(b, primary)
            await admit(own, databases)
            yield Pair(front, a, b, own)
    finally:
        second.stop()
