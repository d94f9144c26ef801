"""The same service and worker on the Redis and Postgres of the compose file, wherever a Docker engine answers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.settings import MAX_EXACT_INTEGER, TopologySettings, load
from tests.conftest import TestDatabases, admit, environment_on
from tests.support.infrastructure import Infrastructure, infrastructure
from tests.support.service import running_service
from tests.support.worker import drained, rows, working

pytestmark = pytest.mark.containers


@pytest.fixture
def containers() -> Iterator[Infrastructure]:
    with infrastructure({"TEST_INFRA": "containers"}) as servers:
        assert servers.kind == "containers"
        yield servers


async def test_a_score_goes_from_http_to_postgres(containers: Infrastructure) -> None:
    made = TestDatabases(f"leaderboard_test_{secrets.token_hex(4)}", containers)
    await made.make()
    environ = {**environment_on(made), "REDIS_URL_EU": containers.redis_urls[1]}
    databases = await RegionDatabases.open(load(TopologySettings, environ))
    try:
        async with (
            redis.Redis.from_url(containers.redis_urls[0], decode_responses=True) as redis_1,
            redis.Redis.from_url(containers.redis_urls[1], decode_responses=True) as redis_2,
        ):
            await admit(environ, databases)
            async with running_service(environ) as api, working(environ):
                for user_id, region in (("alice", "ASIA"), ("日本🎮", "EU")):
                    token = await api.register(user_id, region, MAX_EXACT_INTEGER - 1, password="correct horse battery")
                    assert (await api.post("/score/add", {"delta": 1}, token=token)).status_code == 200
                assert (await api.login("alice", password="correct horse battery")).status_code == 200
                assert await api.scores() == {"alice": MAX_EXACT_INTEGER, "日本🎮": MAX_EXACT_INTEGER}
                await drained(redis_1, redis_2)
            assert (await rows(databases, "ASIA"))["alice"][1] == MAX_EXACT_INTEGER
            assert (await rows(databases, "EU"))["日本🎮"][1] == MAX_EXACT_INTEGER
    finally:
        await databases.close()
