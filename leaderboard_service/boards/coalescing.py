"""Request coalescing: identical reads that arrive together share one fetch, and still see every write before them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class RequestCoalescer(Generic[Answer]):
    """Runs one fetch per key at a time; callers that arrive during a fetch share the next one.

    To join the running fetch would be cheaper and wrong: it may have read before a write that this caller knows to
    be acknowledged. The next one begins after all of its callers have arrived.
    """

    def __init__(self) -> None:
        self._running: set[Hashable] = set()
        self._next: dict[Hashable, asyncio.Future[None]] = {}
        self._shared: dict[Hashable, asyncio.Task[Answer]] = {}

    async def read(self, key: Hashable, fetch: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the answer of a `fetch` begun no earlier than this call; raise its error for all who share it."""
        if key not in self._running:
            return await asyncio.shield(self._begin(key, fetch))
        turn = self._next.get(key)
        if turn is None:
            turn = self._next[key] = asyncio.get_running_loop().create_future()
        await asyncio.shield(turn)
        if key not in self._shared or self._shared[key].done():
            return await asyncio.shield(self._begin(key, fetch))
        return await asyncio.shield(self._shared[key])

    def _begin(self, key: Hashable, fetch: Callable[[], Awaitable[Answer]]) -> asyncio.Task[Answer]:
        self._running.add(key)
        task = asyncio.ensure_future(_run(fetch))
        self._shared[key] = task
        task.add_done_callback(lambda ended: self._ended(key, ended))
        return task

    def _ended(self, key: Hashable, task: asyncio.Task[Answer]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved, also when every caller has gone
        self._running.discard(key)
        turn = self._next.pop(key, None)
        if turn is not None:
            turn.set_result(None)
        else:
            self._shared.pop(key, None)


async def _run(fetch: Callable[[], Awaitable[Answer]]) -> Answer:
    return await fetch()
