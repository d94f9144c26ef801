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
from tests.support.all_redis import AllRedis
from tests.support.infrastructure import Infrastructure, engine_answers, infrastructure
from tests.support.layouts import CLUSTER_PARTITIONS, LAYOUTS, TEST_LAYOUT, Layout, on_layout
from tests.support.pgbouncer import pgbouncer
from tests.support.redis_cluster import Cluster, redis_cluster
from tests.support.service import REGIONS, SECRET, Api, running_service
from tests.support.worker import EAGER
from worker_service.recovery.rebuild import rebuild

hypothesis_settings.register_profile("leaderboard", deadline=None, derandomize=True, max_examples=50)
hypothesis_settings.load_profile("leaderboard")


SIDE_BY_SIDE = tuple(Path(__file__).parent / folder for folder in ("unit", "integration"))
OWN_SERVERS = {"redis_1", "redis_2", "own_redis", "sharded_api", "sharded_environ"}
"""Fixtures of tests that choose their Redis themselves, and are the same on every TEST_LAYOUT."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs the machine to itself, and leave out the container tests where no Docker engine answers.

    TEST_INFRA=containers asks for them wherever it is. A whole system, with load or with faults, is ten processes.
    """
    for item in items:
        if not any(item.path.is_relative_to(folder) for folder in SIDE_BY_SIDE):
            item.add_marker(pytest.mark.serial)
        if TEST_LAYOUT != "one-redis" and (why := _why_not_here(item)):
            item.add_marker(pytest.mark.skip(reason=f"not on {TEST_LAYOUT}: {why}"))
    wanted = [item for item in items if item.get_closest_marker("containers")]
    if wanted and os.environ.get("TEST_INFRA") != "containers" and not engine_answers():
        config.hook.pytest_deselected(items=wanted)
        items[:] = [item for item in items if item not in wanted]


def _why_not_here(item: pytest.Item) -> str:
    marker = item.get_closest_marker("layout")
    if marker is not None and TEST_LAYOUT not in marker.args:
        return str(marker.kwargs["why"])
    own = OWN_SERVERS.intersection(getattr(item, "fixturenames", ()))
    return "it chooses its Redis itself" if own else ""


@pytest.fixture(scope="session")
def infra() -> Iterator[Infrastructure]:
    """The servers of this session. A test that asks for them fails when they cannot be had."""
    given = sorted({"TEST_REDIS_URL", "TEST_POSTGRES_URL"} & os.environ.keys())
    if given and "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail(f"several processes of pytest would empty the servers of {' and '.join(given)}: run without -n")
    with infrastructure(os.environ) as servers:
        yield servers


EMPTY = "; ".join(
    (
        *(f"DELETE FROM {table}" for table in ("leaderboard", "entries", "accounts", "deleted_players", "admissions")),
        *(f"DELETE FROM {table}" for table in ("known_regions", "boards", "dead_boards")),
        "ALTER SEQUENCE board_ids RESTART",
    )
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


@pytest.fixture(scope="session")
def test_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster | None]:
    """The cluster of a session with TEST_LAYOUT=cluster."""
    if TEST_LAYOUT != "cluster":
        yield None
        return
    with redis_cluster(tmp_path_factory.mktemp("cluster"), replicas=0) as made:
        yield made


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> Layout:
    """Where this test runs: on what a parameter says, else on TEST_LAYOUT."""
    if "any_layout" in request.fixturenames:
        chosen: Layout = request.getfixturevalue("any_layout")
        return chosen
    return TEST_LAYOUT


@pytest.fixture
def layouts(
    test_databases: TestDatabases, infra: Infrastructure, test_cluster: Cluster | None
) -> dict[Layout, dict[str, str]]:
    """The environment of a process on each layout; on a cluster with TEST_LAYOUT=cluster only."""
    environ = environment_on(test_databases)
    names: tuple[Layout, ...] = ("one-redis", "two-redis", "two-partitions")
    made = {name: on_layout(environ, infra.redis_urls, name) for name in names}
    if test_cluster is not None:
        made["cluster"] = on_layout(environ, infra.redis_urls, "cluster", test_cluster.url(CLUSTER_PARTITIONS))
    return made


@pytest.fixture
def environ(layouts: dict[Layout, dict[str, str]], layout: Layout) -> dict[str, str]:
    """The environment of a process on the layout of this test."""
    return layouts[layout]


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
def sharded_environ(layouts: dict[Layout, dict[str, str]]) -> dict[str, str]:
    """The environment of a process on two Redis: EU lives on the second one."""
    return layouts["two-redis"]


@pytest.fixture
async def emptied(infra: Infrastructure, test_cluster: Cluster | None) -> None:
    """Every Redis of this session, emptied."""
    for url in infra.redis_urls:
        async with redis.Redis.from_url(url) as client:
            await client.flushdb()
    if test_cluster is not None:
        test_cluster.flush()


@pytest.fixture
async def redis_1(infra: Infrastructure, emptied: None) -> AsyncIterator[redis.Redis]:
    """A client of the first Redis, emptied; of a test that chooses its Redis itself."""
    async with redis.Redis.from_url(infra.redis_urls[0], decode_responses=True) as client:
        yield client


@pytest.fixture
async def redis_2(infra: Infrastructure, emptied: None) -> AsyncIterator[redis.Redis]:
    """A client of the second Redis, emptied; of a test that chooses its Redis itself."""
    async with redis.Redis.from_url(infra.redis_urls[1], decode_responses=True) as client:
        yield client


@pytest.fixture
async def all_redis(environ: dict[str, str], emptied: None) -> AsyncIterator[AllRedis]:
    """A client of every Redis of the layout of this test as if they were one, emptied."""
    client = AllRedis(environ)
    try:
        yield client
    finally:
        await client.aclose()


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
    layout: Layout,
    emptied: None,
    databases: RegionDatabases,
) -> AsyncIterator[Start]:
    """Starts services: `await start(layout="two-redis", USER_RATE_LIMIT_COUNT=3, …)`; all stop after the test."""
    async with AsyncExitStack() as stack:

        async def start_one(*, layout: Layout = layout, ready: bool = True, **overrides: object) -> Api:
            chosen = {**layouts[layout], **{name: str(value) for name, value in overrides.items()}}
            if ready:
                await admit(chosen, databases)
            return await stack.enter_async_context(running_service(chosen))

        yield start_one


@pytest.fixture
async def api(start: Start) -> Api:
    """The service on the layout of this test."""
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
    del any_layout
    return await start()
