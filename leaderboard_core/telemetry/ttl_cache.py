"""Cache one value for a while, and load it once however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class TtlCache(Generic[Value]):
    """Keeps what `load` gave for `ttl_seconds`; callers during a load share it."""

    def __init__(self, load: Callable[[], Awaitable[Value]], ttl_seconds: float) -> None:
        self._load = load
        self._ttl_seconds = ttl_seconds
        self._task: asyncio.Task[Value] | None = None
        self._expires_at = 0.0

    async def get(self) -> Value:
        """Return the value, at most `ttl_seconds` old. Raises what `load` raised."""
        now = asyncio.get_running_loop().time()
        if self._task is None or (self._task.done() and now >= self._expires_at):
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_retrieve)
        return await asyncio.shield(self._task)

    async def _run(self) -> Value:
        try:
            return await self._load()
        finally:
            self._expires_at = asyncio.get_running_loop().time() + self._ttl_seconds


def _retrieve(task: asyncio.Task[Value]) -> None:
    if not task.cancelled():
        task.exception()  # every caller may have been cancelled: asyncio would complain of an error nobody saw
