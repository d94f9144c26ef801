"""Test the Python client with lost answers, limits and a dying service: each write counts once."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest
import redis.asyncio as redis

import leaderboard_client as client
from leaderboard_core.postgres.databases import RegionDatabases
from tests.conftest import Start, admit
from tests.integration.api_gateway.support import refusing_port
from tests.support.callers import Caller, Kind, calling
from tests.support.proxy import Proxy, proxy
from tests.support.service import Api
from tests.support.waiting import eventually


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
async def between(api: Api) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the service."""
    async with proxy(str(api.http.base_url)) as opened:
        yield opened


@pytest.fixture
async def call(kind: Kind, between: Proxy) -> AsyncIterator[Caller]:
    async with calling(kind, between.url) as caller:
        yield caller


async def lose_the_answer(between: Proxy) -> None:
    """Cut the client off after the service has answered, before the answer arrives."""
    seen = between.answers_seen

    async def answered() -> bool:
        return between.answers_seen > seen

    await eventually(answered, "an answer of the service")
    await between.drop_clients()
    between.release_answers()


async def test_a_write_whose_answer_is_lost_is_repeated_and_counts_once(
    call: Caller, between: Proxy, redis_1: redis.Redis
) -> None:
    await call("register", "ada", "Ada", "EU")
    between.hold_answers()
    adding = asyncio.create_task(call("add", 10))
    await lose_the_answer(between)
    written = await adding
    assert written.score == 10
    assert (await call("rank")).score == 10
    # The registration and one add: the repetition got the answer of the first attempt.
    assert await redis_1.llen("queue:scores:EU") == 2
    assert await redis_1.hget("user:ada", "updated_at") == str(written.updated_at)


async def test_a_batch_whose_answer_is_lost_counts_once(
    call: Caller, between: Proxy, api: Api, redis_1: redis.Redis
) -> None:
    call.client.token = api.server_token()
    between.hold_answers()
    adding = asyncio.create_task(call("submit_many", [client.Submission(f"p{n}", "NA", delta=2) for n in range(30)]))
    await lose_the_answer(between)
    assert (await adding).ok
    assert set((await api.scores()).values()) == {2}
    assert await redis_1.llen("queue:scores:NA") == 30


async def test_a_deletion_whose_answer_is_lost_is_done_once(call: Caller, between: Proxy, redis_1: redis.Redis) -> None:
    await call("register", "ada", "Ada", "EU")
    between.hold_answers()
    deleting = asyncio.create_task(call("delete_user", "ada"))
    await lose_the_answer(between)
    assert (await deleting).user_id == "ada"
    assert await redis_1.llen("queue:scores:EU") == 2
    with pytest.raises(client.NotFound):
        await call("delete_user", "ada")


async def test_a_registration_whose_answer_is_lost_is_not_repeated(call: Caller, between: Proxy) -> None:
    between.hold_answers()
    registering = asyncio.create_task(call("register", "ada", "Ada", "EU"))
    await lose_the_answer(between)
    with pytest.raises(client.ConnectionFailed) as caught:
        await registering
    assert caught.value.maybe_done
    assert caught.value.request_id
    await call("login", "ada", "Ada")
    assert (await call("add", 1)).score == 1


async def test_a_registration_waits_for_a_service_that_is_not_there_yet(call: Caller, between: Proxy) -> None:
    await between.cut()
    registering = asyncio.create_task(call("register", "ada", "Ada", "EU", 4))
    done, _ = await asyncio.wait([registering], timeout=0.3)
    assert not done
    await between.open()
    assert (await registering).user.score == 4


async def test_a_read_whose_answer_is_lost_is_repeated(call: Caller, between: Proxy) -> None:
    between.hold_answers()
    reading = asyncio.create_task(call("top"))
    await lose_the_answer(between)
    assert (await reading).total == 0


async def test_a_429_is_waited_out(start: Start, kind: Kind) -> None:
    api = await start(USER_RATE_LIMIT_COUNT=2, USER_RATE_LIMIT_WINDOW=1)
    loop = asyncio.get_running_loop()
    async with calling(kind, str(api.http.base_url)) as call:
        await call("register", "ada", "Ada", "EU")
        started = loop.time()
        for _ in range(5):
            await call("add", 1)
        # A bucket of two that fills in a second: the fifth write has to wait for three half seconds.
        assert 1.4 < loop.time() - started < 10
        assert (await call("rank")).score == 5


async def test_a_client_without_patience_is_told_when_to_come_back(start: Start, kind: Kind) -> None:
    api = await start(USER_RATE_LIMIT_COUNT=1, USER_RATE_LIMIT_WINDOW=60)
    for settings in ({"max_wait": 0}, {"max_wait": 20}):
        async with calling(kind, str(api.http.base_url), **settings) as call:
            user_id = f"ada-{settings['max_wait']}"
            await call("register", user_id, "Ada", "EU")
            await call("add", 1)
            async with asyncio.timeout(15):
                with pytest.raises(client.RateLimited) as caught:
                    await call("add", 1)
            assert caught.value.code == "rate_limited"
            assert 50 < (caught.value.retry_after or 0) <= 60
            assert (await call("rank")).score == 1


async def test_nobody_listening_is_an_error_in_time(kind: Kind) -> None:
    loop = asyncio.get_running_loop()
    with refusing_port() as port:
        async with calling(kind, f"http://127.0.0.1:{port}", max_wait=0.5) as call:
            started = loop.time()
            with pytest.raises(client.ConnectionFailed) as caught:
                await call("top")
            assert loop.time() - started < 10, "it went on for as long as it does unasked"
    assert not caught.value.maybe_done
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


async def test_silence_is_a_time_out(between: Proxy, kind: Kind) -> None:
    between.hold()
    async with calling(kind, between.url, timeout=0.2, max_wait=0.5) as hasty:
        with pytest.raises(client.ConnectionFailed) as caught:
            await hasty("top")
    assert caught.value.code == "timed_out"


@asynccontextmanager
async def service_process(environ: Mapping[str, str], port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `python -m leaderboard_service` on a port; kill it at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "leaderboard_service"),
        env={"PATH": os.environ["PATH"], **environ, "PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_service_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    kind: Kind, environ: dict[str, str], redis_1: redis.Redis, databases: RegionDatabases
) -> None:
    await admit(environ, databases)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    added: dict[str, int] = {}
    stop = asyncio.Event()

    async def play(number: int) -> None:
        async with calling(kind, f"http://127.0.0.1:{port}") as call:
            user_id = f"p-{number}"
            await call("register", user_id, "P", "EU")
            added[user_id] = 0
            while not stop.is_set():
                written = await call("add", 1)
                added[user_id] += 1
                assert written.score == added[user_id]

    players = [asyncio.create_task(play(number)) for number in range(4)]
    for life in ("first", "second"):
        target = max(added.values(), default=0) + 20

        async def enough(target: int = target) -> bool:
            return len(added) == 4 and min(added.values()) > target

        async with service_process(environ, port):
            await eventually(enough, "writes of every player", seconds=30)
            if life == "second":
                stop.set()
                await asyncio.gather(*players)
    for user_id, count in added.items():
        assert await redis_1.hget(f"user:{user_id}", "score") == str(count)
    assert await redis_1.llen("queue:scores:EU") == sum(added.values()) + len(added)
