"""Test that counts are shared by who asks in one turn of the loop, and never with who asked before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from leaderboard_service.boards.count_sharing import SharedCounts


class Board:
    """Counts the calls, each of which ends when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.players = [1, 5, 5, 9]
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def count(self, scores: Sequence[int]) -> tuple[int, list[int]]:
        self.asked.append(list(scores))
        players = list(self.players)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return len(players), [sum(one > score for one in players) for score in scores]


async def test_who_asks_together_shares_one_call_and_gets_its_own_count() -> None:
    board = Board()
    board.go.set()
    counts = SharedCounts(board.count)
    assert await asyncio.gather(*map(counts.above, (5, 1, 5, 9, 0))) == [(4, 1), (4, 3), (4, 1), (4, 0), (4, 4)]
    assert board.asked == [[5, 1, 9, 0]]


async def test_who_asks_later_gets_a_count_of_later() -> None:
    board = Board()
    counts = SharedCounts(board.count)
    first = asyncio.create_task(counts.above(5))
    while not board.asked:
        await asyncio.sleep(0)
    board.players.append(7)
    second = asyncio.create_task(counts.above(5))
    while len(board.asked) < 2:
        await asyncio.sleep(0)
    board.go.set()
    assert [await first, await second] == [(4, 1), (5, 2)]


async def test_an_error_is_everybodys_and_the_next_call_is_new() -> None:
    board = Board()
    board.go.set()
    board.error = RuntimeError("away")
    counts = SharedCounts(board.count)
    failed = await asyncio.gather(counts.above(1), counts.above(5), return_exceptions=True)
    assert [str(one) for one in failed] == ["away", "away"]
    board.error = None
    assert await counts.above(5) == (4, 1)


async def test_one_who_goes_away_leaves_the_others_alone() -> None:
    board = Board()
    counts = SharedCounts(board.count)
    gone, stays = asyncio.create_task(counts.above(5)), asyncio.create_task(counts.above(1))
    while not board.asked:
        await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    board.go.set()
    assert await stays == (4, 3)
