"""Test that counts are shared by who asks in one turn of the loop, and never with who asked before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from leaderboard_service.boards.count_sharing import Counted, SharedCounts
from leaderboard_service.boards.ranges import Point
from leaderboard_service.boards.ranking import Counts


class Board:
    """Counts the calls, each of which ends when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[Point]] = []
        self.players = [Point(key, name) for name, key in (("a", 1), ("b", 5), ("c", 5), ("d", 9))]
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def count(self, points: Sequence[Point]) -> Counted:
        self.asked.append(list(points))
        players = list(self.players)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return len(players), [
            Counts(sum(one.key > at.key for one in players), sum(one.order > at.order for one in players))
            for at in points
        ]


A, B, C, D = (Point(key, name) for name, key in (("a", 1), ("b", 5), ("c", 5), ("d", 9)))


async def test_who_asks_together_shares_one_call_and_gets_its_own_count() -> None:
    board = Board()
    board.go.set()
    counts = SharedCounts(board.count)
    assert await asyncio.gather(*map(counts.at, (B, A, B, D, C))) == [
        *((4, (1, 2)), (4, (3, 3)), (4, (1, 2))),
        *((4, (0, 0)), (4, (1, 1))),
    ]
    assert board.asked == [[B, A, D, C]]


async def test_who_asks_later_gets_a_count_of_later() -> None:
    board = Board()
    counts = SharedCounts(board.count)
    first = asyncio.create_task(counts.at(C))
    while not board.asked:
        await asyncio.sleep(0)
    board.players.append(Point(7, "e"))
    second = asyncio.create_task(counts.at(C))
    while len(board.asked) < 2:
        await asyncio.sleep(0)
    board.go.set()
    assert [await first, await second] == [(4, (1, 1)), (5, (2, 2))]


async def test_an_error_is_everybodys_and_the_next_call_is_new() -> None:
    board = Board()
    board.go.set()
    board.error = RuntimeError("away")
    counts = SharedCounts(board.count)
    failed = await asyncio.gather(counts.at(A), counts.at(C), return_exceptions=True)
    assert [str(one) for one in failed] == ["away", "away"]
    board.error = None
    assert await counts.at(C) == (4, (1, 1))


async def test_one_who_goes_away_leaves_the_others_alone() -> None:
    board = Board()
    counts = SharedCounts(board.count)
    gone, stays = asyncio.create_task(counts.at(C)), asyncio.create_task(counts.at(A))
    while not board.asked:
        await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    board.go.set()
    assert await stays == (4, (3, 3))
