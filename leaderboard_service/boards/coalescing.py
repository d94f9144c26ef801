"""Identical reads that arrive together share one look at Redis, and still see every write before them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedReads(Generic[Answer]):
    """One read per key at a time. Who comes while one is under way waits for the next, which all of them share.

    Joining the read under way would be cheaper and wrong: it may have looked before a write that this
    caller knows to be acknowledged. The next one begins after every one of its callers has come.
    """

    def __init__(self) -> None:
        self._running: set[Hashable] = set()
        self._next: dict[Hashable, asyncio.Future[None]] = {}
        self._shared: dict[Hashable, asyncio.Task[Answer]] = {}

    async def read(self, key: Hashable, look: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer of `look`, begun no earlier than this call; its errors are raised for all who share it."""
        if key not in self._running:
            return await asyncio.shield(self._begin(key, look))
        turn = self._next.get(key)
        if turn is None:
            turn = self._next[key] = asyncio.get_running_loop().create_future()
        await asyncio.shield(turn)
        if key not in self._shared or self._shared[key].done():
            return await asyncio.shield(self._begin(key, look))
        return await asyncio.shield(self._shared[key])

    def _begin(self, key: Hashable, look: Callable[[], Awaitable[Answer]]) -> asyncio.Task[Answer]:
        self._running.add(key)
        task = asyncio.ensure_future(_run(look))
        self._shared[key] = task
        task.add_done_callback(lambda ended: self._ended(key, ended))
        return task

    def _ended(self, key: Hashable, task: asyncio.Task[Answer]) -> None:
        if not task.cancelled():
            task.exception()  # seen, also when every caller has gone
        self._running.discard(key)
        turn = self._next.pop(key, None)
        if turn is not None:
            turn.set_result(None)
        else:
            self._shared.pop(key, None)


async def _run(look: Callable[[], Awaitable[Answer]]) -> Answer:
    return await look()
