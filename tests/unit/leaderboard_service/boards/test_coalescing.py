"""Request coalescing: one fetch for many callers, and never an answer older than the caller."""

from __future__ import annotations

import asyncio

import pytest

from leaderboard_service.boards.coalescing import RequestCoalescer


class Store:
    """Counts fetches; each returns what was written when it began, once the gate is open."""

    def __init__(self) -> None:
        self.written = 0
        self.fetches = 0
        self.gate = asyncio.Event()

    async def fetch(self) -> int:
        self.fetches += 1
        seen = self.written
        await self.gate.wait()
        return seen


async def settle() -> None:
    """Let every task run to where it waits; tasks that go on without I/O need a turn of the loop for each step."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_read_sees_every_write_before_it_and_shares_the_next_fetch() -> None:
    store, coalescer = Store(), RequestCoalescer[int]()
    first = asyncio.create_task(coalescer.read("board", store.fetch))
    await settle()
    store.written = 1
    later = [asyncio.create_task(coalescer.read("board", store.fetch)) for _ in range(50)]
    await settle()
    assert store.fetches == 1
    store.gate.set()
    assert await first == 0
    assert await asyncio.gather(*later) == [1] * 50
    assert store.fetches == 2


async def test_other_keys_do_not_wait() -> None:
    store, coalescer = Store(), RequestCoalescer[int]()
    tasks = [asyncio.create_task(coalescer.read(key, store.fetch)) for key in ("a", "b")]
    await settle()
    assert store.fetches == 2
    store.gate.set()
    await asyncio.gather(*tasks)


async def test_an_error_is_raised_for_all_who_share_and_forgotten_after() -> None:
    coalescer = RequestCoalescer[int]()
    gate = asyncio.Event()

    async def fail() -> int:
        await gate.wait()
        raise ValueError("no")

    tasks = [asyncio.create_task(coalescer.read("board", fail)) for _ in range(5)]
    await settle()
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["no"] * 5

    async def work() -> int:
        return 7

    assert await coalescer.read("board", work) == 7


async def test_a_caller_that_goes_away_takes_nobody_along() -> None:
    store, coalescer = Store(), RequestCoalescer[int]()
    first, second, third = (asyncio.create_task(coalescer.read("board", store.fetch)) for _ in range(3))
    await settle()
    first.cancel()
    second.cancel()
    store.gate.set()
    assert await third == 0
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await coalescer.read("board", store.fetch) == 0
