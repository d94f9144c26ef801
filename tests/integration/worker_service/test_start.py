"""A worker's start while the schema cannot be changed, and beside or after another one that changes it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis.asyncio as redis

from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.migrations import migrate
from tests.support.infrastructure import Infrastructure
from tests.support.waiting import eventually

INDEX = "leaderboard_updated_at"
PROCESS_SECONDS = 60.0
"""Workers start slowly beside other tests."""


@dataclass
class Worker:
    """A worker process; its log is a file."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    async def healthy(self) -> bool:
        assert self.process.returncode is None, self.log.read_text()
        try:
            async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
                return (await client.get("/health")).status_code == 200
        except httpx.TransportError:
            return False

    def said(self, what: str) -> list[str]:
        """Return the log's messages with this text."""
        messages = (json.loads(line)["message"] for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [message for message in messages if what in message]

    async def says(self, what: str) -> str:
        found: list[str] = await eventually(lambda: self.said(what), f"a line with {what!r}", seconds=PROCESS_SECONDS)
        return found[0]

    async def start(self) -> None:
        await eventually(self.healthy, "the worker's start", seconds=PROCESS_SECONDS)


Start = Callable[[], Any]


@pytest.fixture
async def start(
    fresh_database: str, infra: Infrastructure, redis_1: redis.Redis, tmp_path: Path
) -> AsyncIterator[Start]:
    """Starts workers of one region on the fresh database; what still runs is killed after the test."""
    async with AsyncExitStack() as stack:

        async def start_one() -> Worker:
            return await stack.enter_async_context(worker(fresh_database, infra.redis_urls[0], tmp_path))

        yield start_one


@asynccontextmanager
async def worker(database: str, redis_url: str, folder: Path, **settings: str) -> AsyncIterator[Worker]:
    (port,) = find_free_ports(1)
    environ = {"REDIS_URL": redis_url, "REGIONS": "GLOBAL", "DATABASE_URL_GLOBAL": database, "PORT": str(port)}
    log = folder / f"{port}.log"
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker_service"),
            env={"PATH": os.environ["PATH"], **environ, **settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Worker(process, f"http://127.0.0.1:{port}", log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def admin(fresh_database: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(fresh_database)
    yield connection
    await connection.close()


@asynccontextmanager
async def transaction(url: str, statement: str) -> AsyncIterator[Any]:
    """Keep a transaction open that has run the statement."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(statement)
            yield connection
    finally:
        await connection.close()


async def test_a_server_that_cannot_say_what_is_on_disks_is_refused(
    fresh_database: str, infra: Infrastructure, redis_1: redis.Redis, tmp_path: Path
) -> None:
    settings = {"REDIS_WAIT_REPLICAS": "1", "REDIS_WAIT_FSYNC": "true"}
    async with worker(fresh_database, infra.redis_urls[0], tmp_path, **settings) as refused:
        assert await asyncio.wait_for(refused.process.wait(), PROCESS_SECONDS) == 1
        assert "appendonly is disabled" in refused.log.read_text()


async def index_state(admin: Any) -> Any:
    return await admin.fetchrow(sql.load("index_state"), INDEX)


async def builder(admin: Any) -> int | None:
    found: int | None = (await index_state(admin))["builder"]
    return found


async def valid(admin: Any) -> bool | None:
    found: bool | None = (await index_state(admin))["valid"]
    return found


async def names(admin: Any) -> list[str]:
    return [str(row["version"]) for row in await admin.fetch("SELECT version FROM schema_migrations ORDER BY version")]


EVERY = [str(migration.version) for migration in sql.migrations()]
WRITER = "INSERT INTO leaderboard (user_id, name, region) VALUES ('slow', 'Slow', 'GLOBAL')"
EVENT = {"user_id": "alice", "name": "Alice", "region": "GLOBAL", "score": 5, "timestamp": 1_700_000_000_000_000}


async def saves(client: redis.Redis, admin: Any) -> None:
    """Have a worker save an event."""
    await client.lpush("queue:scores:GLOBAL", json.dumps({**EVENT, "request_id": "r"}))
    find = "SELECT score FROM leaderboard WHERE user_id = 'alice'"
    await eventually(lambda: admin.fetchval(find), "the row", seconds=PROCESS_SECONDS)


@pytest.fixture
async def without_index(fresh_database: str, admin: Any) -> str:
    """A database whose schema lacks the index, as before the upgrade."""
    await migrate(fresh_database, timeout=10, indexes=False)
    return fresh_database


async def test_two_workers_that_start_at_once_migrate_once(start: Start, admin: Any) -> None:
    workers = await asyncio.gather(start(), start())
    for one in workers:
        await one.start()

    async def complete() -> bool:
        return await names(admin) == EVERY

    await eventually(complete, "every migration", seconds=PROCESS_SECONDS)
    applied = [line for one in workers for line in one.said(" applied")]
    assert len(applied) == len(EVERY), applied
    assert await valid(admin) is True


async def test_a_worker_that_cannot_migrate_yet_says_what_it_waits_for_and_goes_on(
    start: Start, fresh_database: str, admin: Any
) -> None:
    await migrate(fresh_database, timeout=10)
    await admin.execute("DELETE FROM schema_migrations WHERE version = 2")
    async with transaction(fresh_database, "LOCK TABLE leaderboard IN ACCESS SHARE MODE") as dump:
        await dump.execute("SET application_name = 'pg_dump'")
        one = await start()
        line = await one.says("migration 0002_protected waits")
        assert f"pg_dump (pid {dump.get_server_pid()})" in line
        assert not await one.healthy()
    await one.start()
    assert await names(admin) == EVERY


async def test_a_worker_that_finds_another_one_migrating_says_so_and_goes_on(
    start: Start, fresh_database: str, admin: Any
) -> None:
    await migrate(fresh_database, timeout=10)
    await admin.execute("DELETE FROM schema_migrations WHERE version = 2")
    await admin.execute(
        "INSERT INTO migration_lease VALUES (TRUE, 'worker-7', '0002_protected', clock_timestamp() + '25 s')"
    )
    one = await start()
    assert "worker-7: 0002_protected" in await one.says("another process migrates")
    assert not await one.healthy()
    await admin.execute("DELETE FROM migration_lease")
    await one.start()


@pytest.mark.parametrize("session_dies_too", [False, True])
async def test_a_worker_that_is_killed_while_it_builds_an_index_leaves_it_to_the_next(
    start: Start, without_index: str, admin: Any, all_redis: redis.Redis, session_dies_too: bool
) -> None:
    async with transaction(without_index, WRITER):
        first = await start()
        pid = await eventually(lambda: builder(admin), "the build", seconds=PROCESS_SECONDS)
        await first.start()
        await saves(all_redis, admin)
        first.process.kill()
        await first.process.wait()
        if session_dies_too:
            await admin.fetchval("SELECT pg_terminate_backend($1)", pid)

            async def left() -> bool:
                return await builder(admin) is None and await valid(admin) is False

            await eventually(left, "an invalid index")
        # As if the lease of the one that died had ended.
        assert await admin.fetchval("UPDATE migration_lease SET expires_at = clock_timestamp() RETURNING TRUE")
        second = await start()
        await second.start()
        await eventually(lambda: holder_changed(admin, first.process.pid), "the second's lease")
    await eventually(lambda: valid(admin), "the index", seconds=PROCESS_SECONDS)
    await second.says("0005_updated_at applied")
    assert bool(second.said("an invalid index is dropped")) == session_dies_too


async def holder_changed(admin: Any, pid: int) -> bool:
    holder = await admin.fetchval("SELECT holder FROM migration_lease")
    return holder is not None and f"-{pid}-" not in holder


async def test_a_worker_that_is_stopped_while_it_builds_an_index_ends_in_time(
    start: Start, without_index: str, admin: Any
) -> None:
    async with transaction(without_index, WRITER):
        one = await start()
        await eventually(lambda: builder(admin), "the build", seconds=PROCESS_SECONDS)
        await one.start()
        one.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(one.process.wait(), 10) == 0
        assert await admin.fetchval("SELECT count(*) FROM migration_lease") == 0
        assert await builder(admin) is None
