"""Live boards of a real replica: a thousand listeners, some that take nothing, its stop and its death."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_core.http import open_files
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens
from tests.conftest import admit
from tests.integration.leaderboard_service.live.test_top import boards_read
from tests.support.events import listening, many
from tests.support.process import Running, running
from tests.support.waiting import eventually

MEGABYTE = 1_048_576
LITTLE = 25 * MEGABYTE
"""For fifty clients that take nothing: an event or two of 90 kB in the buffer of each."""


@pytest.fixture
async def server(environ: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a game server's token, without an address yet."""
    token = Tokens(load(AuthSettings, environ)).issue("game", "game", "GLOBAL", role="server")
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
async def ready(environ: dict[str, str], all_redis: redis.Redis, databases: RegionDatabases) -> dict[str, str]:
    """The environment of a process on an empty, admitted Redis."""
    await admit(environ, databases)
    return environ


async def submit(client: httpx.AsyncClient, url: str, scores: dict[str, int], name: str = "x") -> None:
    items = [{"user_id": user, "region": "EU", "score": score, "name": name} for user, score in scores.items()]
    response = await client.post(f"{url}/scores", json={"scores": items})
    assert response.json()["accepted"] == len(items), response.text


async def test_a_thousand_listeners_cost_one_reader(
    ready: dict[str, str], redis_1: redis.Redis, server: httpx.AsyncClient
) -> None:
    open_files.raise_limit()  # this process has the other ends
    environ = {**ready, "STREAM_INTERVAL_MS": "100", "STREAM_HEARTBEAT_SECONDS": "30"}
    clock = asyncio.get_running_loop().time
    async with running("leaderboard_service", environ, soft_files=256) as replica:
        await submit(server, replica.url, {f"p{number}": number for number in range(20)})
        files = replica.files
        left_over = []
        for turn in range(2):
            async with many(replica.url, ["/stream/top?region=EU&limit=10"] * 1000) as listeners:
                assert {listener.status for listener in listeners} == {200}
                assert replica.files >= 1000 + files - 5
                first = await asyncio.gather(*(listener.next(20) for listener in listeners))
                assert len({event.id for event in first}) == 1

                started = clock()
                await submit(server, replica.url, {"winner": 1000 + turn})
                events = await asyncio.gather(*(listener.next(20) for listener in listeners))
                assert clock() - started < 5
                assert {(event.name, event.data["rows"][0]["user_id"]) for event in events} == {("change", "winner")}
                assert len({event.id for event in events}) == 1

                before, started = await boards_read(redis_1), clock()

                async def reads(before: int = before) -> int:
                    done = await boards_read(redis_1) - before
                    return done if done >= 5 else 0

                done = await eventually(reads, "five reads")
                assert done <= (clock() - started) / 0.1 + 1, "one read per interval, not one per listener"
            await everybody_left(replica, files)
            left_over.append(replica.memory)
        assert left_over[1] - left_over[0] < 8 * MEGABYTE, "what the second thousand used was there already"
        quiet = await boards_read(redis_1)
        await asyncio.sleep(0.5)  # 5 intervals: that something does not happen shows over a time only
        assert await boards_read(redis_1) == quiet


async def everybody_left(replica: Running, files: int) -> None:
    await eventually(lambda: replica.files <= files + 5, "the end of every connection")
    assert await replica.metric("leaderboard_streams_open") == 0


async def test_a_thousand_players_with_a_rank_of_their_own(ready: dict[str, str], server: httpx.AsyncClient) -> None:
    open_files.raise_limit()
    async with running("leaderboard_service", ready) as replica:
        await submit(server, replica.url, {f"p{number}": number for number in range(1000)})
        paths = [f"/stream/rank/p{number}?region=EU&range=1" for number in range(1000)]
        async with many(replica.url, paths) as listeners:
            first = await asyncio.gather(*(listener.next(20) for listener in listeners))
            assert [event.data["self"]["rank"] for event in first] == list(range(1000, 0, -1))
            await submit(server, replica.url, {"winner": 5000})
            events = await asyncio.gather(*(listener.next(20) for listener in listeners))
            assert [event.data["self"]["rank"] for event in events] == list(range(1001, 1, -1))


@asynccontextmanager
async def stuck(url: str, count: int) -> AsyncIterator[None]:
    """Clients that ask for a large board and read nothing."""
    parts = urlsplit(url)
    with ExitStack() as stack:
        for _ in range(count):
            made = stack.enter_context(socket.socket())
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.setblocking(False)
            await asyncio.get_running_loop().sock_connect(made, (parts.hostname, parts.port))
            made.send(b"GET /stream/top?region=EU&limit=100 HTTP/1.1\r\nHost: x\r\n\r\n")
        yield


async def test_who_takes_nothing_is_dropped_and_costs_little(ready: dict[str, str], server: httpx.AsyncClient) -> None:
    environ = {**ready, "STREAM_INTERVAL_MS": "20", "STREAM_SLOW_SECONDS": "5"}
    async with running("leaderboard_service", environ) as replica:
        # About 90 kB an event.
        await submit(server, replica.url, {f"p{number}": number for number in range(100)}, name="🎮" * 200)
        async with listening(replica.url, "/stream/top?region=EU&limit=100") as reader:
            await reader.next()
            before, files = replica.memory, replica.files
            most, score, read = before, 1000, 0
            async with stuck(replica.url, 50):
                while reader.bytes_read < 5 * LITTLE / 50:
                    score += 1
                    # The last of the board becomes the first: every row moves, and the whole board is sent.
                    await submit(server, replica.url, {f"p{score % 100}": score}, name="🎮" * 200)
                    while (await reader.next()).data["rows"][0]["score"] != score:
                        read += 1
                    read += 1
                    most = max(most, replica.memory)
                sent = await replica.metric('leaderboard_stream_events_total{event="change",kind="top"}')
                assert most - before < LITTLE, f"{(most - before) / MEGABYTE:.0f} MB more, of five times LITTLE to send"
                assert sent - read < 50 * 10, "who takes nothing gets no more"

                async def all_dropped() -> bool:
                    return await replica.metric('leaderboard_streams_dropped_total{kind="top"}') == 50

                await eventually(all_dropped, "the end of those who take nothing", seconds=20)
                assert replica.files <= files + 5
            assert await replica.metric("leaderboard_streams_open") == 1


async def test_who_was_slow_gets_what_is_true_and_not_all_that_was(
    ready: dict[str, str], server: httpx.AsyncClient
) -> None:
    async with running("leaderboard_service", {**ready, "STREAM_INTERVAL_MS": "20"}) as replica:
        await submit(server, replica.url, {f"p{number}": number for number in range(100)}, name="🎮" * 200)
        path = "/stream/top?region=EU&limit=100"
        async with listening(replica.url, path) as reader, listening(replica.url, path) as slow:
            rows: list[dict[str, Any]] = (await slow.next()).data["rows"]
            await reader.next()
            seen = 0
            for score in range(1000, 1080):
                await submit(server, replica.url, {f"p{score % 100}": score}, name="🎮" * 200)
                while (await reader.next()).data["rows"][0]["score"] != score:
                    seen += 1
                seen += 1
            events = 0
            while rows[0]["score"] != 1079:
                rows = (await slow.next()).data["rows"]
                events += 1
            assert events < seen / 2
            assert slow.last_id == reader.last_id


async def test_a_stop_ends_streams_at_once_and_in_order(ready: dict[str, str], server: httpx.AsyncClient) -> None:
    async with running("leaderboard_service", ready) as replica:
        await submit(server, replica.url, {"a": 1})
        paths = ["/stream/top?region=EU", "/stream/rank/a?region=EU"]
        async with many(replica.url, paths) as listeners:
            for listener in listeners:
                await listener.next()
            replica.process.send_signal(signal.SIGTERM)
            clock = asyncio.get_running_loop().time
            started = clock()
            assert [await listener.ended() for listener in listeners] == [True, True]
            assert clock() - started < 1
        # Until the gateways know, a client may come back here. An error would make a browser give up for good.
        async with many(replica.url, paths) as listeners:
            for listener in listeners:
                assert listener.status == 200
                assert await listener.ended() is True
                assert listener.retry == 1000
                assert listener.last_id == ""
        assert await asyncio.wait_for(replica.process.wait(), 10) == 0


async def test_more_listeners_than_files_are_refused_and_scores_go_on(
    ready: dict[str, str], server: httpx.AsyncClient
) -> None:
    """With a hard limit of 600 files there is room for 88 listeners, whatever the setting says."""
    async with (
        running("leaderboard_service", ready, soft_files=600, hard_files=600) as replica,
        many(replica.url, ["/stream/top?region=EU"] * 100) as listeners,
    ):
        assert Counter(listener.status for listener in listeners) == {200: 88, 503: 12}
        await submit(server, replica.url, {"a": 1})
