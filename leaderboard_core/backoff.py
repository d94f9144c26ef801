"""Space out repeated tries: how long each pause is, and waiting for a stop or a server meanwhile."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from leaderboard_core.errors import Unavailable

log = logging.getLogger(__name__)

_LARGEST_EXPONENT = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds that double from `first` up to `most`.

    `jitter` is the part of a pause that `chance` may take off, so that processes that failed together do not try
    again together.
    """

    first: float
    most: float
    jitter: float = 0.0
    chance: Callable[[], float] = random.random

    def pause(self, attempt: int) -> float:
        """Compute the pause after the failed attempt number `attempt` (from 0)."""
        grown = min(self.most, self.first * 2.0 ** min(attempt, _LARGEST_EXPONENT))
        return grown * (1.0 - self.jitter * self.chance())


class Pauses:
    """Count the failed attempts of one loop and make its pauses, which `stop` cuts short."""

    def __init__(self, backoff: Backoff, stop: asyncio.Event) -> None:
        self._backoff = backoff
        self._stop = stop
        self._attempt = 0

    def reset(self) -> None:
        """Begin with the first pause again, after a success."""
        self._attempt = 0

    async def pause(self) -> None:
        """Wait; return at once when a stop was asked for."""
        seconds = self._backoff.pause(self._attempt)
        self._attempt += 1
        await wait_for_stop(self._stop, seconds)


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> None:
    """Wait for the stop, `seconds` at most."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


_RESTART = Backoff(first=0.1, most=10.0, jitter=0.5)
_WELL_SECONDS = 60.0


async def keep_running(
    name: str,
    run: Callable[[], Awaitable[None]],
    stop: asyncio.Event,
    on_failure: Callable[[str], None],
    *,
    fatal: tuple[type[Exception], ...] = (),
) -> None:
    """Run a task of the process until it ends by itself; after an unforeseen error start it again, with pauses.

    Each error is logged with its traceback and reported to `on_failure`, with the task's name; those of `fatal` are
    raised.
    """
    pauses, loop = Pauses(_RESTART, stop), asyncio.get_running_loop()
    while True:
        started = loop.time()
        try:
            await run()
        except fatal:
            raise
        except Exception:
            log.exception("a task failed and is started again", extra={"task": name})
            on_failure(name)
            if loop.time() - started > _WELL_SECONDS:
                pauses.reset()
            await pauses.pause()
        else:
            return
        if stop.is_set():
            return


_START = Backoff(first=0.1, most=1.0)


async def until_answers(
    problem_of: Callable[[], Awaitable[str | None]],
    explain: Callable[[str], str],
    deadline: float,
    on_wait: Callable[[str], None],
) -> None:
    """Ask a server that may be starting until there is no problem, or `deadline` (loop time) has come.

    `explain` makes the problem a message that names the variable to look at; it is given to `on_wait` at
    each try and raised as Unavailable at the end.
    """
    loop, attempt = asyncio.get_running_loop(), 0
    while (problem := await problem_of()) is not None:
        message = explain(problem)
        if loop.time() >= deadline:
            raise Unavailable(message)
        on_wait(message)
        await asyncio.sleep(_START.pause(attempt))
        attempt += 1
