"""Bound how many callers use something at once, and refuse early those who would wait in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class BulkheadFull(Exception):
    """As many callers as may are inside, and no place became free for this one."""


class Bulkhead:
    """Admits `capacity` callers at a time; `waiting` more may wait for `wait_seconds`, the others are refused at once.

    Source: Nygard, "Release It!", the Bulkheads pattern.
    """

    def __init__(self, capacity: int, *, waiting: int, wait_seconds: float) -> None:
        self._places = asyncio.Semaphore(capacity)
        self._most_waiting = waiting
        self._wait_seconds = wait_seconds
        self._waiting = 0

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Hold a place, in the order of the callers. Raises BulkheadFull."""
        await self._enter()
        try:
            yield
        finally:
            self._places.release()

    async def _enter(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        if self._waiting >= self._most_waiting:
            raise BulkheadFull
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._places.acquire()
        except TimeoutError as error:
            raise BulkheadFull from error
        finally:
            self._waiting -= 1
