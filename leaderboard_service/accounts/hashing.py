"""Hashes passwords beside the scoring: within a share of a core, logins first, none for callers who have left."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from starlette.requests import ClientDisconnect

from leaderboard_core.errors import Unavailable
from leaderboard_core.settings import AuthSettings

log = logging.getLogger(__name__)

TURN_SECONDS = 5.0
"""How long a caller waits for its turn; with the hash it must stay below every time-out of a gateway or client."""
_FIRST_ESTIMATE_SECONDS = 0.05
_NICENESS = 10

IsGone = Callable[[], Awaitable[bool]]
"""Tells whether the caller has left."""


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A hash to be computed. `lanes` are the threads that the algorithm starts for it."""

    work: Callable[[], Any]
    lanes: int
    is_gone: IsGone
    result: asyncio.Future[Any]


class PasswordHashing:
    """Runs argon2id (RFC 9106), one hash at a time, in a thread of low priority.

    After each hash the thread rests, so that hashes take no more than a share of a core. At most `waiting` logins and
    as many registrations wait; more are refused at once. Logins go first: registrations cannot keep owners out.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._share = settings.password_cpu_share
        self._most_waiting = settings.password_queue_length
        # One lane: with several the work is done by threads of their own, whose time cannot be told.
        self._hasher = PasswordHasher(parallelism=1)
        self._executor = ThreadPoolExecutor(1, "passwords", initializer=_step_back)
        self._logins: deque[_Job] = deque()
        self._registrations: deque[_Job] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._rested_at = 0.0
        self._seconds = _FIRST_ESTIMATE_SECONDS

    async def hash(self, password: str, is_gone: IsGone) -> str:
        """Hash the password of a new account. Raises Unavailable when its turn does not come in time."""
        found: str = await self._run(self._registrations, partial(self._hasher.hash, password), 1, is_gone)
        return found

    async def verify(self, password_hash: str, password: str, is_gone: IsGone) -> bool:
        """Tell whether a password is the one of a hash. Raises Unavailable when its turn does not come in time."""
        try:
            lanes = extract_parameters(password_hash).parallelism
        except InvalidHashError:
            return False
        fits: bool = await self._run(self._logins, partial(self._fits, password_hash, password), lanes, is_gone)
        return fits

    def close(self) -> None:
        """Refuse what waits, and let a hash under way end."""
        if self._worker is not None:
            self._worker.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _fits(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except VerificationError:
            return False

    async def _run(self, queue: deque[_Job], work: Callable[[], Any], lanes: int, is_gone: IsGone) -> Any:
        if len(queue) >= self._most_waiting:
            raise self._busy()
        job = _Job(work, lanes, is_gone, asyncio.get_running_loop().create_future())
        queue.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            await asyncio.wait((job.result,), timeout=TURN_SECONDS)
            if not job.result.done() and job in queue:
                raise self._busy()
            return await job.result
        finally:
            with suppress(ValueError):
                queue.remove(job)

    def _busy(self) -> Unavailable:
        waiting = len(self._logins) + len(self._registrations)
        return Unavailable(
            "More passwords are being checked than this server has time for; nothing was done. Try again in "
            "'retry_after' seconds.",
            retry_after=(waiting + 1) * self._seconds / self._share,
        )

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.0, self._rested_at - loop.time()))
            queue = self._logins or self._registrations
            if not queue:
                return
            job = queue.popleft()
            if job.result.done():
                continue
            if await job.is_gone():
                job.result.set_exception(ClientDisconnect())
                continue
            try:
                outcome, seconds = await loop.run_in_executor(self._executor, _timed, job.work, job.lanes)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                seconds = self._seconds
                if not job.result.done():
                    job.result.set_exception(error)
            else:
                if not job.result.done():
                    job.result.set_result(outcome)
            self._seconds += 0.2 * (seconds - self._seconds)
            self._rested_at = loop.time() + seconds * (1 / self._share - 1)


def _timed(work: Callable[[], Any], lanes: int) -> tuple[Any, float]:
    """Return what `work` returns, and the seconds of CPU it took; of several lanes at least, by the clock."""
    clock = time.thread_time if lanes == 1 else time.perf_counter
    started = clock()
    outcome = work()
    return outcome, clock() - started


def _step_back() -> None:
    """Let the event loop's thread go first where both want a core; only on Linux a thread has a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
