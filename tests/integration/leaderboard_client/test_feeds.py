"""Test live feeds of the Python client from the real service, also over cut connections and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

import leaderboard_client as client
from tests.conftest import Start
from tests.integration.api_gateway.support import refusing_port
from tests.support.callers import Caller, Kind, calling
from tests.support.proxy import Proxy, proxy
from tests.support.service import Api
from tests.support.waiting import eventually

SOON = 10.0


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
async def fast(start: Start) -> Api:
    """Run a service that updates its live boards without delay."""
    return await start(STREAM_INTERVAL_MS=20)


@pytest.fixture
async def between(fast: Api) -> AsyncIterator[Proxy]:
    async with proxy(str(fast.http.base_url)) as opened:
        yield opened


@pytest.fixture
async def server(kind: Kind, fast: Api, between: Proxy) -> AsyncIterator[Caller]:
    """Open a game server's client, behind a proxy that can be cut."""
    async with calling(kind, between.url, token=fast.server_token()) as caller:
        yield caller


async def until(values: AsyncIterator[Any], wanted: Any) -> Any:
    """Return the first value for which `wanted` is true."""
    async with asyncio.timeout(SOON):
        async for value in values:
            if wanted(value):
                return value
    raise AssertionError("the feed ended")


def scores(board: client.LiveTop) -> list[tuple[int, int, str, int]]:
    return [(row.position, row.rank, row.user_id, row.score) for row in board.rows]


async def test_a_board_is_followed(server: Caller) -> None:
    for number in range(4):
        await server("submit", f"p-{number}", "EU", number)
    async with aclosing(server.iterate("stream_top", "EU", limit=3)) as boards:
        first = await until(boards, lambda board: True)
        assert scores(first) == [(1, 1, "p-3", 3), (2, 2, "p-2", 2), (3, 3, "p-1", 1)]
        assert (first.region, first.total, first.source, first.available) == ("EU", 4, "redis", True)
        await server("submit", "p-0", "EU", 3)
        moved = await until(boards, lambda board: board.rows != first.rows)
        assert scores(moved) == [(1, 1, "p-3", 3), (2, 1, "p-0", 3), (3, 3, "p-2", 2)]


async def test_a_cut_feed_misses_nothing_that_is_still_true(server: Caller, between: Proxy, fast: Api) -> None:
    await server("submit", "ada", "EU", 1)
    async with aclosing(server.iterate("stream_top", "EU")) as boards:
        await until(boards, lambda board: board.rows[0].score == 1)
        waiting = asyncio.create_task(until(boards, lambda board: board.rows[0].score == 3))
        await between.cut()
        direct = {"Authorization": f"Bearer {fast.server_token()}"}
        for score in (2, 3):
            body = {"user_id": "ada", "region": "EU", "score": score}
            assert (await fast.http.post("/score", json=body, headers=direct)).status_code == 200
        await between.open()
        assert scores(await waiting) == [(1, 1, "ada", 3)]


async def test_raw_events_resume_after_the_one_that_was_seen(server: Caller) -> None:
    await server("submit", "ada", "EU", 1)
    async with aclosing(server.iterate("events_top", "EU")) as events:
        first = await until(events, lambda event: True)
    assert (first.event, first.json()["rows"][0]["score"]) == ("snapshot", 1)
    assert first.id
    async with aclosing(server.iterate("events_top", "EU", last_event_id=first.id)) as events:
        coming = asyncio.create_task(until(events, lambda event: True))
        done, _ = await asyncio.wait([coming], timeout=0.3)
        assert not done, "nothing changed since"
        await server("submit", "ada", "EU", 2)
        second = await coming
    assert second.json()["rows"][0]["score"] == 2
    assert second.id != first.id


async def test_a_player_and_its_neighbours_are_followed(server: Caller) -> None:
    for number in range(5):
        await server("submit", f"p-{number}", "EU", number)
    async with aclosing(server.iterate("stream_rank", "p-2", reach=1)) as places:
        first = await until(places, lambda place: True)
        assert (first.own.rank, first.own.score, first.own.percentile) == (3, 2, 50.0)
        assert [row.user_id for row in first.around] == ["p-3", "p-1"]
        await server("submit", "p-2", "EU", 9)
        moved = await until(places, lambda place: place.own.score == 9)
        assert (moved.own.rank, [row.user_id for row in moved.around]) == (1, ["p-4"])


async def test_an_unknown_player_has_no_feed(server: Caller) -> None:
    with pytest.raises(client.NotFound, match="user_not_found"):
        await until(server.iterate("stream_rank", "nobody"), lambda place: True)
    with pytest.raises(client.InvalidRequest, match="unknown_region"):
        await until(server.iterate("stream_top", "MOON"), lambda board: True)


async def test_a_feed_from_nowhere_is_an_error_in_time(kind: Kind) -> None:
    with refusing_port() as port:
        async with calling(kind, f"http://127.0.0.1:{port}", max_wait=0.3) as nowhere, asyncio.timeout(SOON):
            with pytest.raises(client.ConnectionFailed):
                await until(nowhere.iterate("stream_top"), lambda board: True)


async def test_a_silent_feed_is_taken_for_dead(kind: Kind, fast: Api, between: Proxy) -> None:
    await fast.register("ada", "EU", 1)
    async with (
        calling(kind, between.url, stream_timeout=0.3) as caller,
        aclosing(caller.iterate("stream_top", "EU")) as boards,
    ):
        await until(boards, lambda board: True)
        between.hold_answers()
        seen = between.answers_seen
        coming = asyncio.create_task(until(boards, lambda board: board.rows[0].score == 2))
        token = fast.player_token("ada", "EU")
        assert (await fast.post("/score/update", {"score": 2}, token=token)).status_code == 200
        # The second held answer is that of a new connection.
        await eventually(lambda: between.answers_seen >= seen + 2, "a second answer", seconds=SOON)
        between.release_answers()
        assert scores(await coming) == [(1, 1, "ada", 2)]


async def test_a_feed_that_is_left_lets_its_connection_go(server: Caller, fast: Api) -> None:
    await server("submit", "ada", "EU", 1)
    async with aclosing(server.iterate("stream_top", "EU")) as boards:
        await until(boards, lambda board: True)
        assert await open_streams(fast) == 1

    async def closed() -> bool:
        return not await open_streams(fast)

    await eventually(closed, "the end of the stream", seconds=SOON)


async def open_streams(api: Api) -> float:
    text = (await api.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("leaderboard_streams_open{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
