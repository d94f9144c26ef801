"""An answer that is made at most once in a while, however many ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Fresh(Generic[Answer]):
    """Shares what one look found for `seconds`; who comes while a look is under way waits for that one."""

    def __init__(self, look: Callable[[], Awaitable[Answer]], seconds: float) -> None:
        self._look = look
        self._seconds = seconds
        self._task: asyncio.Task[Answer] | None = None
        self._stale_at = 0.0

    async def get(self) -> Answer:
        """The answer, at most `seconds` old. Raises what the look raised."""
        now = asyncio.get_running_loop().time()
        if self._task is None or (self._task.done() and now >= self._stale_at):
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_seen)
        return await asyncio.shield(self._task)

    async def _run(self) -> Answer:
        try:
            return await self._look()
        finally:
            self._stale_at = asyncio.get_running_loop().time() + self._seconds


def _seen(task: asyncio.Task[Answer]) -> None:
    if not task.cancelled():
        task.exception()  # everybody who waited may have gone
