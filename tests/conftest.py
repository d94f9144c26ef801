"""Fixtures: real Redis and Postgres servers once a session, emptied for each test, and the service on them."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import redis.asyncio as redis
from hypothesis import settings as hypothesis_settings

from leaderboard_core.postgres import migrations
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.support.infrastructure import Infrastructure, engine_answers, infrastructure
from tests.support.layouts import LAYOUTS, Layout, on_layout
from tests.support.pgbouncer import pgbouncer
from tests.support.service import REGIONS, SECRET, Api, running_service
from tests.support.worker import EAGER
from worker_service.recovery.rebuild import rebuild

hypothesis_settings.register_profile("leaderboard", deadline=None, derandomize=True, max_examples=50)
hypothesis_settings.load_profile("leaderboard")


SIDE_BY_SIDE = tuple(Path(__file__).parent / folder for folder in ("unit", "integration"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs the machine to itself, and leave out the container tests where no Docker engine answers.

    TEST_INFRA=containers asks for them wherever it is. A whole system, with load or with faults, is ten processes.
    """
    for item in items:
        if not any(item.path.is_relative_to(folder) for folder in SIDE_BY_SIDE):
            item.add_marker(pytest.mark.serial)
    wanted = [item for item in items if item.get_closest_marker("containers")]
    if wanted and os.environ.get("TEST_INFRA") != "containers" and not engine_answers():
        config.hook.pytest_deselected(items=wanted)
        items[:] = [item for item in items if item not in wanted]


@pytest.fixture(scope="session")
def infra() -> Iterator[Infrastructure]:
    """The servers of this session. A test that asks for them fails when they cannot be had."""
    given = sorted({"TEST_REDIS_URL", "TEST_POSTGRES_URL"} & os.environ.keys())
    if given and "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail(f"several processes of pytest would empty the servers of {' and '.join(given)}: run without -n")
    with infrastructure(os.environ) as servers:
        yield servers


EMPTY = "; ".join(
    f"DELETE FROM {table}" for table in ("leaderboard", "accounts", "deleted_players", "admissions", "known_regions")
)


@dataclass(frozen=True)
class TestDatabases:
    """Names of this session's databases: one per region, made from a migrated template."""

    __test__ = False

    prefix: str
    infra: Infrastructure
    pooler: str | None = None
    """With TEST_PGBOUNCER: the DSN of a PgBouncer, through which processes reach the databases, not the tests."""

    @property
    def template(self) -> str:
        return f"{self.prefix}_template"

    def dsn(self, region: str) -> str:
        return self.infra.dsn(f"{self.prefix}_{region.lower()}")

    def process_dsn(self, region: str) -> str:
        """The DSN that a process is given for a region."""
        if self.pooler is None:
            return self.dsn(region)
        return urlunsplit(urlsplit(self.dsn(region))._replace(netloc=urlsplit(self.pooler).netloc))

    async def execute(self, *statements: str) -> None:
        """Run statements on the server's own database, outside any transaction."""
        connection = await asyncpg.connect(self.infra.postgres_dsn)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def make(self) -> None:
        await self.execute(f'CREATE DATABASE "{self.template}"')
        await migrations.migrate(self.infra.dsn(self.template), timeout=10)
        await self.execute(
            *(f'CREATE DATABASE "{self.prefix}_{region.lower()}" TEMPLATE "{self.template}"' for region in REGIONS)
        )

    async def empty(self) -> None:
        """Delete every row of every region."""
        for region in REGIONS:
            connection = await asyncpg.connect(self.dsn(region))
            try:
                await connection.execute(EMPTY)
            finally:
                await connection.close()

    async def drop(self) -> None:
        names = [self.template, *(f"{self.prefix}_{region.lower()}" for region in REGIONS)]
        await self.execute(*(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)' for name in names))


@pytest.fixture(scope="session")
def test_databases(infra: Infrastructure) -> Iterator[TestDatabases]:
    with ExitStack() as stack:
        pooler = stack.enter_context(pgbouncer(infra.postgres_dsn)) if os.environ.get("TEST_PGBOUNCER") else None
        made = TestDatabases(f"leaderboard_test_{secrets.token_hex(4)}", infra, pooler)
        asyncio.run(made.make())
        try:
            yield made
        finally:
            asyncio.run(made.drop())


@pytest.fixture
async def fresh_database(test_databases: TestDatabases) -> AsyncIterator[str]:
    """The DSN of a database without tables, dropped after the test."""
    name = f"{test_databases.prefix}_{secrets.token_hex(4)}"
    await test_databases.execute(f'CREATE DATABASE "{name}"')
    yield test_databases.infra.dsn(name)
    await test_databases.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def environ(test_databases: TestDatabases) -> dict[str, str]:
    """The environment of a process on one Redis."""
    return environment_on(test_databases)


def environment_on(test_databases: TestDatabases) -> dict[str, str]:
    """The environment of a process on the first Redis and these databases, with buckets too large to matter."""
    return {
        "REDIS_URL": test_databases.infra.redis_urls[0],
        "JWT_SECRET": SECRET,
        "ACCESS_LOG": "false",
        "USER_RATE_LIMIT_COUNT": "100000",
        "USER_RATE_LIMIT_WINDOW": "1",
        "REGION_RATE_LIMIT_PER_SEC": "1000000",
        "PASSWORD_CPU_SHARE": "1",
        **{f"DATABASE_URL_{region}": test_databases.process_dsn(region) for region in REGIONS},
        **({"POSTGRES_STATEMENT_CACHE": "0"} if test_databases.pooler else {}),
    }


@pytest.fixture
def sharded_environ(environ: dict[str, str], infra: Infrastructure) -> dict[str, str]:
    """The environment of a process on two Redis: EU lives on the second one."""
    return on_layout(environ, infra.redis_urls, "two-redis")


@pytest.fixture
def layouts(environ: dict[str, str], infra: Infrastructure) -> dict[Layout, dict[str, str]]:
    """The environment of a process on each layout."""
    return {layout: on_layout(environ, infra.redis_urls, layout) for layout in LAYOUTS}


@pytest.fixture
async def redis_1(infra: Infrastructure) -> AsyncIterator[redis.Redis]:
    """A client of the first Redis, emptied."""
    async with redis.Redis.from_url(infra.redis_urls[0], decode_responses=True) as client:
        await client.flushdb()
        yield client


@pytest.fixture
async def redis_2(infra: Infrastructure) -> AsyncIterator[redis.Redis]:
    """A client of the second Redis, emptied."""
    async with redis.Redis.from_url(infra.redis_urls[1], decode_responses=True) as client:
        await client.flushdb()
        yield client


@pytest.fixture
async def databases(environ: dict[str, str]) -> AsyncIterator[RegionDatabases]:
    """Every region's database, with its tables empty."""
    opened = await RegionDatabases.open(load(TopologySettings, {**environ, "POSTGRES_POOL_SIZE": "2"}))
    try:
        await asyncio.gather(*(opened[region].execute(EMPTY) for region in opened.regions))
        yield opened
    finally:
        await opened.close()


async def admit(environ: dict[str, str], databases: RegionDatabases) -> None:
    """Admit every Redis, as a worker does at its start."""
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        for shard in shard_map.shards:
            await rebuild(shard, databases, EAGER)
    finally:
        await shard_map.close()


Start = Callable[..., Awaitable[Api]]


@pytest.fixture
async def start(
    layouts: dict[Layout, dict[str, str]],
    redis_1: redis.Redis,
    redis_2: redis.Redis,
    databases: RegionDatabases,
) -> AsyncIterator[Start]:
    """Starts services: `await start(layout="two-redis", USER_RATE_LIMIT_COUNT=3, …)`; all stop after the test."""
    async with AsyncExitStack() as stack:

        async def start_one(*, layout: Layout = "one-redis", ready: bool = True, **overrides: object) -> Api:
            chosen = {**layouts[layout], **{name: str(value) for name, value in overrides.items()}}
            if ready:
                await admit(chosen, databases)
            return await stack.enter_async_context(running_service(chosen))

        yield start_one


@pytest.fixture
async def api(start: Start) -> Api:
    """The service on one Redis."""
    return await start()


@pytest.fixture
async def sharded_api(start: Start) -> Api:
    """The service on two Redis, EU on the second one."""
    return await start(layout="two-redis")


@pytest.fixture(params=LAYOUTS)
def any_layout(request: pytest.FixtureRequest) -> Layout:
    """Every layout."""
    layout: Layout = request.param
    return layout


@pytest.fixture
async def any_api(any_layout: Layout, start: Start) -> Api:
    """The service on every layout."""
    return await start(layout=any_layout)
