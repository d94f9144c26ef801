"""Back-off: pauses double up to a limit, vary, start over, and end with the stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from leaderboard_core.backoff import Backoff, Pauses, until_answers, wait_for_stop
from leaderboard_core.errors import Unavailable


class Clock:
    """The time of the running loop, which stands still until the test moves it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._now = loop.time()

    def time(self) -> float:
        return self._now

    async def advance(self, seconds: float) -> None:
        """Move on, and let the loop run what is due."""
        self._now += seconds
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    monkeypatch.setattr(loop, "time", clock.time)
    return clock


def test_pauses_double_up_to_a_limit() -> None:
    backoff = Backoff(first=0.1, most=1.0)
    assert [backoff.pause(attempt) for attempt in range(6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert backoff.pause(100_000) == 1.0, "no overflow"


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 0.4), (0.5, 0.3), (1.0, 0.2)])
def test_chance_takes_off_the_jitters_part(chance: float, expected: float) -> None:
    assert Backoff(first=0.1, most=1.0, jitter=0.5, chance=lambda: chance).pause(2) == pytest.approx(expected)


def test_processes_do_not_march_in_step() -> None:
    backoff = Backoff(first=1.0, most=1.0, jitter=0.5)
    assert len({backoff.pause(0) for _ in range(20)}) > 1


async def test_a_pause_ends_when_its_time_has_come_and_the_next_is_longer(clock: Clock) -> None:
    pauses = Pauses(Backoff(first=4.0, most=60.0), asyncio.Event())
    for seconds in (4.0, 8.0):
        pause = asyncio.create_task(pauses.pause())
        await clock.advance(0)
        await clock.advance(seconds - 0.5)
        assert not pause.done()
        await clock.advance(0.5)
        assert pause.done()
    pauses.reset()
    pause = asyncio.create_task(pauses.pause())
    await clock.advance(0)
    await clock.advance(4.0)
    assert pause.done(), "the first pause again"


async def test_a_stop_ends_a_pause(clock: Clock) -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(wait_for_stop(stop, 60))
    await clock.advance(0)
    assert not waiting.done()
    stop.set()
    await clock.advance(0)
    assert waiting.done()
    pause = asyncio.create_task(Pauses(Backoff(first=60, most=60), stop).pause())
    await clock.advance(0)
    assert pause.done(), "after the stop there are no pauses"


async def test_a_server_is_asked_until_it_answers_or_the_deadline_has_come(clock: Clock) -> None:
    problems: Iterator[str | None] = iter(["refused", "loading", None, *["refused"] * 9])
    said: list[str] = []

    async def problem_of() -> str | None:
        return next(problems)

    async def ask(deadline: float) -> None:
        await until_answers(problem_of, "REDIS_URL: {}".format, deadline, said.append)

    asked = asyncio.create_task(ask(clock.time() + 10))
    await clock.advance(0)
    await clock.advance(0.1)
    assert not asked.done()
    await clock.advance(0.2)
    assert asked.done()
    assert said == ["REDIS_URL: refused", "REDIS_URL: loading"]
    with pytest.raises(Unavailable, match="REDIS_URL: refused"):
        await ask(clock.time())
