"""Back-off: pauses double up to a limit, vary, start over, and end with the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from worker_service.backoff import Backoff, wait


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collects the pauses instead of making them."""
    taken: list[float] = []

    async def note(waiting: Coroutine[Any, Any, Any], seconds: float) -> None:
        waiting.close()
        taken.append(seconds)
        raise TimeoutError

    monkeypatch.setattr(asyncio, "wait_for", note)
    return taken


async def test_pauses_double_up_to_a_limit(pauses: list[float]) -> None:
    pause = Backoff(asyncio.Event(), first=0.1, most=1.0)
    for _ in range(8):
        await pause.pause()
    for taken, most in zip(pauses, (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0), strict=True):
        assert most / 2 <= taken <= most
    assert len(set(pauses[4:])) > 1, "workers do not march in step"
    pause.reset()
    await pause.pause()
    assert pauses[-1] <= 0.1


async def test_a_stop_ends_a_pause() -> None:
    stop = asyncio.Event()
    async with asyncio.timeout(5):
        waiting = asyncio.create_task(wait(stop, 60))
        await asyncio.sleep(0)
        assert not waiting.done()
        stop.set()
        await waiting
        await Backoff(stop, first=60).pause()


async def test_a_pause_ends_by_itself() -> None:
    await wait(asyncio.Event(), 0.001)
