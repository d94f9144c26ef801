"""Cache one value for a while, and load it once however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class TtlCache(Generic[Value]):
    """Keeps what `load` gave for `ttl_seconds`; callers during a load share it.

    With a `duty_cycle` below 1 loads take at most that share of the time: a longer pause follows a long one. The value
    before then serves for as long as the load before took, so that callers do not all wait for a load at once.
    """

    def __init__(self, load: Callable[[], Awaitable[Value]], ttl_seconds: float, *, duty_cycle: float = 1.0) -> None:
        self._load = load
        self._ttl_seconds = ttl_seconds
        self._duty_cycle = duty_cycle
        self._task: asyncio.Task[Value] | None = None
        self._expires_at = 0.0
        self._older: asyncio.Task[Value] | None = None
        self._older_until = 0.0
        self._load_seconds = 0.0

    async def get(self) -> Value:
        """Return the value. Raises what `load` raised, for `ttl_seconds` too."""
        now = asyncio.get_running_loop().time()
        if self._task is None or (self._task.done() and now >= self._expires_at):
            self._older, self._older_until = self._task, self._expires_at + self._load_seconds
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_retrieve)
        if self._older is not None and now < self._older_until and not self._task.done():
            return self._older.result()
        return await asyncio.shield(self._task)

    async def _run(self) -> Value:
        loop = asyncio.get_running_loop()
        started, pause, self._load_seconds = loop.time(), self._ttl_seconds, 0.0
        try:
            value = await self._load()
            if self._duty_cycle < 1:
                self._load_seconds = loop.time() - started
                pause = max(pause, self._load_seconds * (1 / self._duty_cycle - 1))
            return value
        finally:
            self._expires_at = loop.time() + pause


def _retrieve(task: asyncio.Task[Value]) -> None:
    if not task.cancelled():
        task.exception()  # every caller may have been cancelled: asyncio would complain of an error nobody saw
