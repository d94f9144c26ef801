"""How often a cached value is loaded."""

from __future__ import annotations

import asyncio
import time

import pytest

from leaderboard_core.concurrency.ttl_cache import TtlCache
from tests.support.waiting import eventually


class Source:
    """Counts its loads; each takes `seconds`, and fails while `broken`."""

    def __init__(self, seconds: float = 0) -> None:
        self.loads = 0
        self.seconds = seconds
        self.broken = False

    async def load(self) -> int:
        self.loads += 1
        number = self.loads
        await asyncio.sleep(self.seconds)
        if self.broken:
            raise OSError("broken")
        return number


async def test_callers_during_a_load_share_it_and_later_ones_until_it_is_old() -> None:
    source = Source(0.02)
    cache = TtlCache(source.load, 0.1)
    assert set(await asyncio.gather(*(cache.get() for _ in range(20)))) == {1}
    assert await cache.get() == 1

    async def loaded_again() -> bool:
        return await cache.get() == 2

    await eventually(loaded_again, "a second load")


async def test_a_caller_who_leaves_takes_nothing_from_the_others() -> None:
    source = Source(0.02)
    cache = TtlCache(source.load, 60)
    first, second = asyncio.create_task(cache.get()), asyncio.create_task(cache.get())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 1


async def test_a_failure_is_kept_as_long_as_a_value_and_no_longer() -> None:
    source = Source(0.05)
    source.broken = True
    cache = TtlCache(source.load, 0.1, duty_cycle=0.001)
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            await cache.get()
    assert source.loads == 1
    source.broken = False

    async def mended() -> bool:
        try:
            return await cache.get() == 2
        except OSError:
            return False

    await eventually(mended, "a load after the failure")


async def test_a_long_load_is_followed_by_a_long_pause_and_the_value_before_serves_meanwhile() -> None:
    source = Source(0.3)
    cache = TtlCache(source.load, 0.01, duty_cycle=0.25)
    value = await cache.get()
    loaded = time.monotonic()
    while source.loads == 1:
        await asyncio.sleep(0.001)
        value = await cache.get()
    assert time.monotonic() - loaded > 0.8
    assert value == 1


async def test_after_a_break_nobody_gets_the_value_before() -> None:
    source = Source(0.05)
    cache = TtlCache(source.load, 0.01, duty_cycle=0.5)
    assert await cache.get() == 1
    await asyncio.sleep(0.2)
    assert [*await asyncio.gather(cache.get(), cache.get())] == [2, 2]
