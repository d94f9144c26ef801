"""Behind a real PgBouncer in transaction mode: migrations, workers and services, with and without the setting."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import redis.asyncio as redis

from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_core.boards import Place
from leaderboard_core.postgres.databases import POOLER_REMEDY, RegionDatabases
from leaderboard_core.postgres.migrations import migrate_all
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import TestDatabases
from tests.support.pgbouncer import MISSING, find_pgbouncer, pgbouncer
from tests.support.service import REGIONS, running_service
from tests.support.waiting import eventually
from tests.support.worker import drained, working

needs_pgbouncer = pytest.mark.skipif(find_pgbouncer() is None, reason=MISSING)


@pytest.fixture
def narrow(test_databases: TestDatabases) -> Iterator[str]:
    """A pooler with one session for each database: clients meet what others left in it."""
    with pgbouncer(test_databases.infra.postgres_dsn, pool_size=1) as url:
        yield url


@pytest.fixture
def wide(test_databases: TestDatabases) -> Iterator[str]:
    with pgbouncer(test_databases.infra.postgres_dsn) as url:
        yield url


def through(pooler: str, environ: dict[str, str], **more: str) -> dict[str, str]:
    """Let an environment reach its databases through a pooler."""
    netloc = urlsplit(pooler).netloc
    names = [f"DATABASE_URL_{region}" for region in REGIONS]
    urls = {name: urlunsplit(urlsplit(environ[name])._replace(netloc=netloc)) for name in names}
    return {**environ, **urls, **more}


@needs_pgbouncer
async def test_the_system_runs_behind_it_without_the_cache(
    wide: str, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    own = through(wide, environ, POSTGRES_STATEMENT_CACHE="0")
    async with working(own, heartbeats=True), running_service(own) as api, running_service(own) as other:

        async def healthy() -> bool:
            return (await api.get("/health")).status_code == 200

        await eventually(healthy, "an admitted Redis")
        token = await api.register("alice", "EU", 10)
        await asyncio.gather(*(api.post("/score/add", {"delta": 1}, token=token) for _ in range(20)))
        await drained(redis_1)
        assert await databases["EU"].fetchval("SELECT score FROM leaderboard WHERE user_id = 'alice'") == 30
        assert (await api.export("alice", token)).status_code == 200
        for _ in range(3):
            for one in (api, other):
                top = await one.services.postgres_boards.top(Place.on_main("GLOBAL"), 10, 0)
                assert [row.member for row in top.rows] == ["alice"]
        assert (await api.delete("alice", token)).status_code == 200


@needs_pgbouncer
async def test_migrations_run_behind_it_and_leave_no_setting_in_its_sessions(
    wide: str, fresh_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a process sets in a session that is not its own would limit the statements of others."""
    netloc = urlsplit(wide).netloc
    url = urlunsplit(urlsplit(fresh_database)._replace(netloc=netloc))
    settings = load(
        TopologySettings, {"REGIONS": "GLOBAL", "DATABASE_URL_GLOBAL": url, "POSTGRES_STATEMENT_CACHE": "0"}
    )
    with caplog.at_level(logging.WARNING):
        applied = await migrate_all(settings)
        assert "0005_updated_at" in applied["GLOBAL"]
        assert await migrate_all(settings) == {"GLOBAL": []}
        databases = await RegionDatabases.open(settings)
        try:
            await databases.wait_until_reachable(asyncio.get_running_loop().time(), lambda _: None)
            assert caplog.text == "", "there is nothing to warn of"
            pool = databases["GLOBAL"]
            async with AsyncExitStack() as held:
                limits = {}
                for _ in range(3):  # more than the migrations had
                    connection = await held.enter_async_context(pool.acquire())
                    await held.enter_async_context(connection.transaction())
                    pid = await connection.fetchval("SELECT pg_backend_pid()")
                    limits[pid] = await connection.fetchval("SHOW lock_timeout")
            assert list(limits.values()) == ["0"] * 3
        finally:
            await databases.close()


@needs_pgbouncer
async def test_without_the_setting_the_remedy_is_said(
    narrow: str, environ: dict[str, str], databases: RegionDatabases, caplog: pytest.LogCaptureFixture
) -> None:
    """A process meets the names of another's statements: it ends with a message, and no traceback."""
    own = through(narrow, environ, POSTGRES_STATEMENT_CACHE="100")
    opened = await RegionDatabases.open(load(TopologySettings, own))
    try:
        with caplog.at_level(logging.WARNING):
            await opened.wait_until_reachable(asyncio.get_running_loop().time(), lambda _: None)
        assert "DATABASE_URL_ASIA: a pooler answers at" in caplog.text
        assert POOLER_REMEDY in caplog.text
    finally:
        await opened.close()
    for region in REGIONS:
        other = await asyncpg.connect(own[f"DATABASE_URL_{region}"], statement_cache_size=0)
        names = [f"PREPARE __asyncpg_stmt_{number:x}__ AS SELECT 1" for number in range(1, 1000)]
        await other.execute(";".join(["DEALLOCATE ALL", *names]))
        await other.close()
    (port,) = find_free_ports(1)
    for command in (("worker_service",), ("leaderboard_cli", "migrate", "--no-create-databases", "--wait=1")):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *command),
            env={**os.environ, **own, "PORT": str(port), "START_TIMEOUT_SECONDS": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        said = " ".join(output.decode().split())
        assert process.returncode == 1, said
        assert "DuplicatePreparedStatementError" in said
        assert POOLER_REMEDY in said
        assert "Traceback" not in said


async def test_times_are_utc_whatever_zone_the_sessions_have(
    environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, test_databases: TestDatabases
) -> None:
    """A pooler may hand out sessions with the zone of another client."""
    name = urlsplit(test_databases.dsn("EU")).path.removeprefix("/")
    await test_databases.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Pacific/Auckland'")
    try:
        async with working(environ), running_service(environ) as api:
            token = await api.register("alice", "EU", 10)
            await drained(redis_1)
            micros = int(str(await redis_1.hget("user:alice", "updated_at")))
            saved = await databases["EU"].fetchval(
                "SELECT (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint FROM leaderboard WHERE user_id = 'alice'"
            )
            assert saved == micros
            assert (await api.delete("alice", token)).status_code == 200
    finally:
        await test_databases.execute(f'ALTER DATABASE "{name}" RESET timezone')
