"""The clock of a whole Redis steps back by an hour under service and workers: nobody waits until it has caught up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.telemetry.queues import ALIVE_SECONDS, CACHE_SECONDS
from tests.conftest import admit
from tests.support.service import Api, running_service
from tests.support.stepping import SteppingRedis, stepping_redis
from tests.support.waiting import eventually
from tests.support.worker import drained, held, rows, working

pytestmark = pytest.mark.layout("one-redis", why="one Redis, whose clock is its own")
HOUR = 3600
SOON_SECONDS = 15.0
"""The workers' time-out of 2 s, and what a busy machine adds; an hour is what it must not take."""


@pytest.fixture
def stepping(tmp_path: Path) -> Iterator[SteppingRedis]:
    with stepping_redis(tmp_path) as found:
        yield found


@pytest.fixture
async def stepping_environ(
    environ: dict[str, str], stepping: SteppingRedis, databases: RegionDatabases
) -> dict[str, str]:
    """The environment of processes on it, with buckets that are soon empty and slowly full."""
    found = {
        **environ,
        "REDIS_URL": stepping.url,
        "WORKER_TIMEOUT_SECONDS": "2",
        "USER_RATE_LIMIT_COUNT": "2",
        "USER_RATE_LIMIT_WINDOW": "600",
        "LOGIN_RATE_LIMIT_COUNT": "2",
        "LOGIN_RATE_LIMIT_WINDOW": "600",
    }
    await admit(found, databases)
    return found


@asynccontextmanager
async def client_of(stepping: SteppingRedis) -> AsyncIterator[redis.Redis]:
    async with redis.Redis.from_url(stepping.url, decode_responses=True) as client:
        yield client


@asynccontextmanager
async def held_upserts(environ: dict[str, str]) -> AsyncIterator[None]:
    """Let every statement of a batch of EU wait, until the end of the block."""
    connection = await asyncpg.connect(environ["DATABASE_URL_EU"])
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE leaderboard IN EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def status(api: Api) -> dict[str, Any]:
    answer = await api.get("/status")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_dead_workers_events_are_saved_and_the_status_says_that_nobody_works(
    stepping: SteppingRedis, stepping_environ: dict[str, str], databases: RegionDatabases
) -> None:
    async with running_service(stepping_environ) as api, client_of(stepping) as client:
        token = await api.register("alice", "EU", 1)
        async with working(stepping_environ, "ghost", heartbeats=True) as ghost:
            await drained(client)
            async with held_upserts(stepping_environ):
                assert (await api.post("/score/add", {"delta": 4}, token=token)).status_code == 200

                async def taken() -> bool:
                    return await held(client) == {"queue:scores:EU:processing:ghost": 1}

                await eventually(taken, "a batch of the worker")
                await ghost.kill()
            assert await taken()
        await asyncio.to_thread(stepping.step, -HOUR)

        async def nobody_works() -> dict[str, Any] | None:
            found = await status(api)
            return None if found["ok"] or found["saved"] else found

        found = await eventually(
            nobody_works, "a status without workers", seconds=ALIVE_SECONDS + CACHE_SECONDS + SOON_SECONDS
        )
        assert [(one["region"], one["processing"]) for one in found["queues"] if one["processing"]] == [("EU", 1)]
        async with working(stepping_environ, "worker-2", heartbeats=True):
            await drained(client, seconds=SOON_SECONDS)
            assert {name: row[1] for name, row in (await rows(databases)).items()} == {"alice": 5}

            async def all_is_well() -> bool:
                now = await status(api)
                return bool(now["ok"] and now["saved"])

            await eventually(all_is_well, "a status that says so", seconds=SOON_SECONDS)


async def test_who_was_refused_before_the_step_is_not_refused_for_the_length_of_it(
    stepping: SteppingRedis, stepping_environ: dict[str, str]
) -> None:
    async with running_service(stepping_environ) as api:
        token = await api.register("alice", "EU", 1, password="correct horse")

        async def adds() -> int:
            return (await api.post("/score/add", {"delta": 1}, token=token)).status_code

        async def logs_in(password: str) -> int:
            return (await api.login("alice", password=password)).status_code

        assert [await adds() for _ in range(3)] == [200, 200, 429]
        assert [await logs_in("wrong staple") for _ in range(3)] == [401, 401, 429]
        await asyncio.to_thread(stepping.step, -HOUR)
        assert await logs_in("correct horse") == 200
        assert [await adds() for _ in range(3)] == [200, 200, 429], "a full bucket, and no more than that"
        again = await api.post("/score/add", {"delta": 1}, token=token)
        assert again.json()["retry_after"] <= 600


async def test_a_worker_that_waits_in_redis_takes_the_first_write_after_the_step_and_stops_in_time(
    stepping: SteppingRedis, stepping_environ: dict[str, str], databases: RegionDatabases
) -> None:
    async with running_service(stepping_environ) as api, client_of(stepping) as client:
        await api.register("alice", "EU", 1)
        async with working(stepping_environ, heartbeats=True, block_seconds=1.0) as worker:
            await drained(client)

            async def waits() -> bool:
                return int((await client.info("clients"))["blocked_clients"]) > 0

            await eventually(waits, "a consumer that waits")
            await asyncio.to_thread(stepping.step, -HOUR)
            await api.register("bob", "EU", 7)
            await drained(client, seconds=SOON_SECONDS)
            assert set(await rows(databases)) == {"alice", "bob"}
            await eventually(waits, "a consumer that waits")
            await worker.finish(seconds=SOON_SECONDS)
