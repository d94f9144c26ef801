"""Start the cluster under test, with its ledger and direct access to its stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import redis.asyncio as redis

from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens
from tests.acceptance.cluster import REPOSITORY, Cluster, command, local_cluster
from tests.faults.boards import define_boards
from tests.faults.ledger import Ledger
from tests.support.infrastructure import embedded_redis
from tests.support.layouts import TEST_LAYOUT

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
STORE_ERRORS = (
    *(OSError, TimeoutError, redis.RedisError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)
"""Raised by a store that is unavailable, starting or dying; the driver calls some broken connections its own fault."""
_STORE_SECONDS = 60.0
REGIONS = ("ASIA", "EU", "NA", "GLOBAL")


class SavedEntry(NamedTuple):
    """A row of an entry; `home` is the region whose database has it."""

    home: str
    board: str
    user_id: str
    board_id: int
    board_window: str
    region: str
    key: int
    member: str
    submits: int
    removed: bool
    metadata: str


@dataclass
class SystemUnderTest:
    """A running cluster, and the ledger of all answers that its clients got."""

    cluster: Cluster
    ledger: Ledger
    tokens: Tokens
    given: dict[str, str] = field(default_factory=dict)
    """Redis that the cluster was given besides its own, by their variables; nothing breaks them."""

    @asynccontextmanager
    async def redis(self, url: str | None = None) -> AsyncIterator[redis.Redis]:
        """Open a client of the cluster's Redis, or of that one, once it answers."""
        client = redis.Redis.from_url(
            url or self.cluster.state["redis_url"],
            decode_responses=True,
            socket_timeout=10,
            socket_connect_timeout=10,
        )
        try:
            await retrying(client.ping)
            yield client
        finally:
            await client.aclose()

    @asynccontextmanager
    async def redis_servers(self) -> AsyncIterator[Sequence[Any]]:
        """Open a client of each server that takes writes."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.redis(url)) for url in (None, *self.given.values())]

    @asynccontextmanager
    async def postgres(self, region: str) -> AsyncIterator[Any]:
        """Open a connection to a region's database once it answers."""
        url = self.cluster.state["databases"][region]
        connection = await retrying(lambda: asyncpg.connect(url, timeout=10, command_timeout=30))
        try:
            yield connection
        finally:
            connection.terminate()

    async def waiting(self) -> dict[str, int]:
        """Count the events that are not in Postgres yet, by list; lists are found by key name, not by the registry."""
        found: dict[str, int] = {}
        async with self.redis_servers() as clients:
            for client in clients:
                async for name in client.scan_iter(match="*queue:scores:*", count=1000, _type="list"):
                    found[name] = found.get(name, 0) + int(await client.llen(name))
        return found

    async def saved_players(self) -> dict[str, int]:
        """Count the rows of each home region in Postgres."""
        found = {}
        for region in REGIONS:
            async with self.postgres(region) as connection:
                found[region] = await connection.fetchval("SELECT count(*) FROM leaderboard")
        return found

    async def saved_entries(self) -> list[SavedEntry]:
        """Read the rows of all entries in Postgres, those that were removed as well."""
        async with self.postgres("GLOBAL") as connection:
            names = {row["id"]: row["name"] for row in await connection.fetch("SELECT id, name FROM boards")}
        found = []
        for home in REGIONS:
            async with self.postgres(home) as connection:
                rows = await connection.fetch(
                    "SELECT user_id, board_id, board_window, region, key, member, submits, removed, metadata"
                    " FROM entries"
                )
            found += [SavedEntry(home, names.get(row["board_id"], f"id {row['board_id']}"), **row) for row in rows]
        return found

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a `leaderboard` command against the cluster; return exit code and output."""
        process = await asyncio.create_subprocess_exec(
            *command(*words),
            cwd=REPOSITORY,
            env={**self.cluster.environment(), **self.given},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")


async def retrying(operation: Callable[[], Awaitable[Any]]) -> Any:
    """Retry until a store that may be starting answers."""
    deadline = time.monotonic() + _STORE_SECONDS
    while True:
        try:
            return await operation()
        except STORE_ERRORS:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


@contextmanager
def running_system(folder: Path) -> Iterator[SystemUnderTest]:
    """Start a cluster for fault injection, and stop it at the end; with TEST_LAYOUT=two-redis EU has one of its own."""
    with ExitStack() as stack:
        given = {}
        if TEST_LAYOUT == "two-redis":
            given["REDIS_URL_EU"] = stack.enter_context(embedded_redis(folder / "second")).url
        cluster = stack.enter_context(
            local_cluster(folder / "data", "--workers", "2", "--quiet", environ={**ENVIRONMENT, **given})
        )
        system = SystemUnderTest(cluster, Ledger(REGIONS), tokens_of(cluster), given)
        system.ledger.boards = define_boards(cluster.url, system.tokens)
        yield system


def tokens_of(cluster: Cluster) -> Tokens:
    """Make what issues tokens of a running cluster."""
    return Tokens(load(AuthSettings, {"JWT_SECRET_FILE": cluster.state["jwt_secret_file"]}))
