"""A feed and its listeners: which events each gets, once, and what a returning client gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_core.boards import Place
from leaderboard_core.errors import Unavailable, UserNotFound
from leaderboard_service.boards.ranking import RankedRow
from leaderboard_service.live.content import TopRows
from leaderboard_service.live.feed import HISTORY, Feed, Listener
from leaderboard_service.live.sse import HEARTBEAT, OPENING
from tests.support.events import apply


def state(*scores: int) -> TopRows:
    rows = tuple(RankedRow(rank, rank, f"p{score}", "x", "EU", score) for rank, score in enumerate(scores, 1))
    return TopRows(Place.on_main("EU"), len(scores), "redis", rows)


def feed() -> Feed:
    return Feed("top", lambda _: None)


joined: set[Listener] = set()


def join(source: Feed, last_event_id: str = "") -> Listener:
    listener = source.join(last_event_id, joined.discard)
    joined.add(listener)
    return listener


@pytest.fixture(autouse=True)
def everybody_leaves() -> Iterator[None]:
    """The gauge of open streams belongs to the whole process."""
    yield
    for listener in list(joined):
        listener.close()


async def sent(listener: Listener) -> list[bytes]:
    """Everything that there is to send now, in pieces."""
    pieces: list[bytes] = []
    while True:
        try:
            async with asyncio.timeout(0):
                piece = await listener.next()
        except TimeoutError:
            return pieces
        if not piece:
            return pieces
        pieces.append(piece)


def read(pieces: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    """(name, data) of each event."""
    found = []
    for block in b"".join(pieces).decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and line[0] != ":")
        if "data" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def id_in(piece: bytes) -> str:
    return next(line[4:] for line in piece.decode().split("\n") if line.startswith("id: "))


async def test_a_listener_waits_for_the_first_state() -> None:
    source = feed()
    listener = join(source)
    assert await sent(listener) == [OPENING]
    source.show(state(5))
    listener.wake()
    assert [name for name, _ in read(await sent(listener))] == ["snapshot"]


async def test_the_same_bytes_go_to_everybody() -> None:
    source = feed()
    source.show(state(5))
    listeners = [join(source) for _ in range(3)]
    first = [(await sent(listener))[0] for listener in listeners]
    source.show(state(6, 5))
    second = [(await sent(listener))[0] for listener in listeners]
    assert len(set(first)) == 1
    assert all(piece is second[0] for piece in second), "encoded once"


async def test_nothing_is_sent_when_nothing_changed() -> None:
    source = feed()
    source.show(state(5))
    listener = join(source)
    await sent(listener)
    assert source.show(state(5)) is False
    assert await sent(listener) == []


@given(st.lists(st.lists(st.integers(1, 6), unique=True), min_size=1, max_size=8), st.data())
def test_a_listener_that_looks_now_and_then_ends_with_what_is_true(
    boards: list[list[int]], data: st.DataObject
) -> None:
    async def play() -> None:
        source = feed()
        listener = join(source)
        rows: list[dict[str, Any]] = []
        for scores in boards:
            source.show(state(*sorted(scores, reverse=True)))
            if data.draw(st.booleans()):
                rows = follow(rows, read(await sent(listener)))
        rows = follow(rows, read(await sent(listener)))
        assert source.version is not None
        assert rows == source.version.content.snapshot()["rows"]

    asyncio.run(play())


def follow(rows: list[dict[str, Any]], events: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    assert len(events) <= 1, "who is behind gets one event"
    for name, found in events:
        rows = found["rows"] if name == "snapshot" else apply(rows, found)
    return rows


async def test_a_client_that_comes_back_gets_what_it_missed() -> None:
    source = feed()
    source.show(state(5))
    listener = join(source)
    seen = id_in((await sent(listener))[0])
    listener.close()
    assert await sent(join(source, seen)) == [OPENING], "nothing changed"
    source.show(state(6, 5))
    [(name, found)] = read(await sent(join(source, seen)))
    assert (name, [row["user_id"] for row in found["rows"]]) == ("change", ["p6", "p5"])
    [(name, _)] = read(await sent(join(source, "never heard of")))
    assert name == "snapshot"


async def test_after_a_silent_return_the_next_change_comes() -> None:
    source = feed()
    source.show(state(5))
    seen = id_in((await sent(join(source)))[0])
    back = join(source, seen)
    await sent(back)
    source.show(state(5, 4))
    [(name, found)] = read(await sent(back))
    assert (name, [row["user_id"] for row in found["rows"]]) == ("change", ["p4"])


async def test_a_state_that_comes_back_is_no_update() -> None:
    source = feed()
    source.show(state(5))
    listener = join(source)
    first = (await sent(listener))[0]
    source.show(state(6))
    source.show(state(5))
    assert await sent(listener) == []
    assert await sent(join(source, id_in(first))) == [OPENING]


async def test_the_history_is_short() -> None:
    source = feed()
    source.show(state(0))
    old = id_in((await sent(join(source)))[0])
    for number in range(1, HISTORY):
        source.show(state(number))
    assert [name for name, _ in read(await sent(join(source, old)))] == ["change"]
    source.show(state(HISTORY))
    assert [name for name, _ in read(await sent(join(source, old)))] == ["snapshot"]


async def test_unavailable_is_said_once_and_the_end_of_it_too() -> None:
    source = feed()
    source.show(state(5))
    listener = join(source)
    await sent(listener)
    assert source.fail(Unavailable()) is True
    assert source.fail(Unavailable()) is False
    [(name, found)] = read(await sent(listener))
    assert (name, found["error"]) == ("unavailable", "unavailable")
    assert await sent(listener) == []
    assert [name for name, _ in read(await sent(join(source)))] == ["unavailable"], "and no state that may be old"
    assert source.show(state(5)) is True
    [(name, found)] = read(await sent(listener))
    assert (name, found["rows"], found["removed"]) == ("change", [], [])


async def test_heartbeats_are_only_for_those_who_got_nothing_else() -> None:
    source = feed()
    source.show(state(5))
    listener = join(source)
    await sent(listener)
    source.heartbeat()
    assert await sent(listener) == [HEARTBEAT]
    source.heartbeat()
    source.show(state(6))
    [piece] = await sent(listener)
    assert [name for name, _ in read([piece])] == ["change"]
    assert HEARTBEAT not in piece


async def test_the_final_event_is_the_last_that_is_sent() -> None:
    source = feed()
    source.show(state(5))
    listener = join(source)
    await sent(listener)
    source.end(UserNotFound(), {"user_id": "p5"})
    assert read(await sent(listener)) == [("gone", {"user_id": "p5"})]
    assert await listener.next() == b""
    assert not source.listeners
    with pytest.raises(UserNotFound):
        await source.wait_for_first_fetch()


async def test_a_closed_listener_ends_and_leaves() -> None:
    left: list[Feed] = []
    source = Feed("top", left.append)
    one, two = join(source), join(source)
    waiting = asyncio.create_task(one.next())
    assert await waiting == OPENING
    waiting = asyncio.create_task(one.next())
    await asyncio.sleep(0)
    one.close()
    one.close()
    assert await waiting == b""
    assert source.listeners == {two}
    assert left == []
    two.close()
    assert left == [source]
