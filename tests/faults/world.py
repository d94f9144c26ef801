"""One cluster under test with its ledger, and direct ways to its stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import redis.asyncio as redis

from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens
from tests.acceptance.cluster import REPOSITORY, LocalCluster, command, local_cluster
from tests.faults.ledger import Ledger

ENVIRONMENT = {
    "WORKER_TIMEOUT_SECONDS": "2",
    "BATCH_SIZE": "20",  # many batches, so that many moments lie between two of them
    "QUEUE_REJECT_LENGTH": "400",
    "USER_RATE_LIMIT_COUNT": "9000",
    "USER_RATE_LIMIT_WINDOW": "1",
    "REGION_RATE_LIMIT_PER_SEC": "1000000",
    "LOGIN_RATE_LIMIT_COUNT": "1000",
    "NGINX_AUTH_RATE": "10000r/s",
    "NGINX_AUTH_BURST": "1000",
    "ACCESS_LOG": "false",
}
STORE_ERRORS = (OSError, TimeoutError, redis.RedisError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a store that is away, starting or dying raises here."""
_STORE_SECONDS = 60.0
REGIONS = ("ASIA", "EU", "NA", "GLOBAL")


@dataclass
class World:
    """A running cluster, and everything that its clients were told so far."""

    cluster: LocalCluster
    ledger: Ledger
    tokens: Tokens

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[redis.Redis]:
        """A client of the cluster's Redis, once that answers."""
        client = redis.Redis.from_url(
            self.cluster.state["redis_url"], decode_responses=True, socket_timeout=10, socket_connect_timeout=10
        )
        try:
            await _patiently(client.ping)
            yield client
        finally:
            await client.aclose()

    @asynccontextmanager
    async def postgres(self, region: str) -> AsyncIterator[Any]:
        """A connection to a region's database, once that answers."""
        url = self.cluster.state["databases"][region]
        connection = await _patiently(lambda: asyncpg.connect(url, timeout=10, command_timeout=30))
        try:
            yield connection
        finally:
            connection.terminate()

    async def waiting(self) -> dict[str, int]:
        """Events that are not in Postgres yet, by list; found by the names of the keys, not by the worker registry."""
        async with self.redis() as client:
            names = [name async for name in client.scan_iter(match="queue:scores:*", count=1000, _type="list")]
            return {name: int(await client.llen(name)) for name in names}

    async def saved_players(self) -> dict[str, int]:
        """How many rows each home region has in Postgres."""
        found = {}
        for region in REGIONS:
            async with self.postgres(region) as connection:
                found[region] = await connection.fetchval("SELECT count(*) FROM leaderboard")
        return found

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a `leaderboard` command against the cluster; exit code and output."""
        process = await asyncio.create_subprocess_exec(
            *command(*words),
            cwd=REPOSITORY,
            env=self.cluster.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")


async def _patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask a store that may be starting until it answers."""
    deadline = time.monotonic() + _STORE_SECONDS
    while True:
        try:
            return await ask()
        except STORE_ERRORS:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


@contextmanager
def running_world(folder: Path) -> Iterator[World]:
    """Start a cluster for faults, stop it in the end."""
    with local_cluster(folder / "data", "--workers", "2", "--quiet", environ=ENVIRONMENT) as cluster:
        settings = load(AuthSettings, {"JWT_SECRET_FILE": cluster.state["jwt_secret_file"]})
        yield World(cluster, Ledger(REGIONS), Tokens(settings))
