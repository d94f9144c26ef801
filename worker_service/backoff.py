"""Growing pauses between tries, cut short when the worker is told to stop."""

from __future__ import annotations

import asyncio
import random


class Backoff:
    """Pauses that double from `first` to `most` seconds, with jitter so that workers do not march in step."""

    def __init__(self, stop: asyncio.Event, *, first: float = 0.1, most: float = 5.0) -> None:
        self._stop = stop
        self._first = first
        self._most = most
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    async def pause(self) -> None:
        """Wait, or return at once when a stop was asked for."""
        seconds = self._next * random.uniform(0.5, 1.0)  # noqa: S311 - jitter needs no secrecy
        self._next = min(self._next * 2, self._most)
        await wait(self._stop, seconds)


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds` or for the stop, whichever comes first."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
