"""How many a bulkhead lets in, lets wait, and refuses."""

from __future__ import annotations

import asyncio

import pytest

from leaderboard_core.concurrency.bulkhead import Bulkhead, BulkheadFull
from tests.support.waiting import eventually


class Room:
    """Callers of a bulkhead who stay until told to leave."""

    def __init__(self, bulkhead: Bulkhead) -> None:
        self.bulkhead = bulkhead
        self.inside: list[str] = []
        self.leave = asyncio.Event()

    async def visit(self, name: str) -> None:
        async with self.bulkhead.entered():
            self.inside.append(name)
            await self.leave.wait()


async def test_those_beyond_the_waiting_are_refused_at_once_and_the_others_enter_in_order() -> None:
    room = Room(Bulkhead(2, waiting=2, wait_seconds=60))
    visits = [asyncio.create_task(room.visit(name)) for name in "abcd"]
    await eventually(lambda: room.inside == ["a", "b"])
    with pytest.raises(BulkheadFull):
        await asyncio.wait_for(room.visit("e"), 1)
    room.leave.set()
    await asyncio.gather(*visits)
    assert room.inside == ["a", "b", "c", "d"]


async def test_a_wait_ends_in_time_and_makes_room_for_another() -> None:
    room = Room(Bulkhead(1, waiting=1, wait_seconds=0.05))
    first = asyncio.create_task(room.visit("a"))
    await eventually(lambda: room.inside == ["a"])
    for _ in range(2):
        with pytest.raises(BulkheadFull):
            await asyncio.wait_for(room.visit("late"), 1)
    room.leave.set()
    await first
    await room.visit("b")
    assert room.inside == ["a", "b"]


async def test_callers_who_leave_give_their_place_back() -> None:
    room = Room(Bulkhead(1, waiting=1, wait_seconds=60))
    inside = asyncio.create_task(room.visit("a"))
    await eventually(lambda: room.inside == ["a"])
    waiting = asyncio.create_task(room.visit("b"))
    await asyncio.sleep(0)
    for task in (waiting, inside):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    room.leave.set()
    await room.visit("c")
    assert room.inside == ["a", "c"]
