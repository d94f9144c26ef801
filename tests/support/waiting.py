"""Waiting for a condition with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE_SECONDS = 10.0


async def eventually(
    look: Callable[[], Awaitable[T]], what: str = "the condition", *, seconds: float = DEADLINE_SECONDS
) -> T:
    """Look until the answer is true, and return it; AssertionError with the last answer after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (found := await look()):
        assert loop.time() < deadline, f"{what} did not come about in {seconds} s; last seen: {found!r}"
        await asyncio.sleep(0.01)
    return found
