"""Count what is in flight, and hold new ones back for the length of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.support.waiting import eventually


class Gate:
    """Lets requests of one kind through, unless it is closed; `what` names them."""

    def __init__(self, what: str, settle_seconds: float) -> None:
        self._what = what
        self._settle_seconds = settle_seconds
        self._open = asyncio.Event()
        self._open.set()
        self._closings = 0
        self._in_flight = 0

    async def opened(self) -> None:
        """Wait until it is open."""
        await self._open.wait()

    @contextmanager
    def inside(self, count: int = 1) -> Iterator[None]:
        """Count this many as in flight."""
        self._in_flight += count
        try:
            yield
        finally:
            self._in_flight -= count

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Let none be in flight inside this block, of which there may be several at once."""
        self._closings += 1
        self._open.clear()
        try:
            await eventually(lambda: not self._in_flight, f"the end of all {self._what}", seconds=self._settle_seconds)
            yield
        finally:
            self._closings -= 1
            if not self._closings:
                self._open.set()

    def let_go(self) -> None:
        """Open it for whoever waits."""
        self._open.set()
