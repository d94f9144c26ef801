"""Which event loops the tests here run on, and a Redis that a test may kill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import redis
import uvloop

from leaderboard_service.accounts import hashing
from tests.conftest import TestDatabases, environment_on
from tests.support.own_redis import OwnRedis

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    """The client works on transports, and those of uvloop (in the processes) are not those of asyncio."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in ("test_gateway_client", "test_gateway_races"):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(scope="session", autouse=True)
def password_turns() -> Iterator[None]:
    """Hash as soon as the tests do anything else, and wait for a turn as long as it takes: no test is about that.

    A hash steps back behind whatever else wants a core, and with tests beside it something always does.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_NICENESS", 0)
        patch.setattr(hashing, "TURN_SECONDS", 60.0)
        yield


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    own = OwnRedis(tmp_path)
    own.start()
    try:
        yield own
    finally:
        own.stop()


@pytest.fixture(scope="module")
def emptied_environ(test_databases: TestDatabases) -> dict[str, str]:
    """The environment of processes that a module shares; else a worker brings the players of earlier tests back."""
    environ = environment_on(test_databases)
    with redis.Redis.from_url(environ["REDIS_URL"]) as client:
        client.flushdb()
    asyncio.run(test_databases.empty())
    return environ
