"""Wait for a condition with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
DEADLINE_SECONDS = 10.0
PROCESS_SECONDS = 20.0
"""Processes start and react more slowly than code inside the test."""


@overload
async def eventually(probe: Callable[[], Awaitable[T]], what: str = ..., *, seconds: float = ...) -> T: ...
@overload
async def eventually(probe: Callable[[], T], what: str = ..., *, seconds: float = ...) -> T: ...
async def eventually(
    probe: Callable[[], Any], what: str = "the condition", *, seconds: float = DEADLINE_SECONDS
) -> Any:
    """Probe until the result is true, and return it. Raises AssertionError with the last result after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        found = probe()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert loop.time() < deadline, f"{what} did not come about in {seconds} s; last seen: {found!r}"
        await asyncio.sleep(0.01)


async def settled(probe: Callable[[], T], *, quiet: float = 0.25, seconds: float = DEADLINE_SECONDS) -> T:
    """Probe until the result is true and has been the same for `quiet` seconds, and return it."""
    loop = asyncio.get_running_loop()
    last, since = probe(), loop.time()

    def unchanged() -> bool:
        nonlocal last, since
        if (found := probe()) != last or not found:
            last, since = found, loop.time()
        return loop.time() - since >= quiet

    await eventually(unchanged, "an answer that stays the same", seconds=seconds)
    return last


def wait_until(probe: Callable[[], T], what: str = "the condition", *, seconds: float = PROCESS_SECONDS) -> T:
    """Do the same as `eventually` without an event loop."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s; last seen: {found!r}"
        time.sleep(0.05)
    return found
