"""Break the circuit: after a few failures in a row, callers are refused at once instead of waiting in line."""

from __future__ import annotations

import time
from collections.abc import Callable

from leaderboard_core.backoff import Backoff

FAILURES = 2
"""One is a connection that broke. When a call made after that fails too, it is the server."""
PAUSES = Backoff(first=0.25, most=2.0)


class CircuitBreaker:
    """Closed: calls pass. Open: none passes for a while. Then one trial call passes (half-open).

    Each failure that counts begins a new period, and a call's permit names the period in which it began. Only calls
    of the present period are heard: the calls in flight on a connection that breaks are one failure, and one that is
    answered or fails later says nothing about the server as it is now. The pause doubles with every trial call that
    fails. Source: Nygard, "Release It!", the Circuit Breaker pattern.
    """

    __slots__ = ("_clock", "_failures", "_opened_until", "_period", "_trials", "_trying")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._trials = 0
        self._opened_until = 0.0
        self._period = 0
        self._trying = False

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES

    def permit(self) -> int | None:
        """Permit a call now: the permit with which the caller must report back, or None while none may be made."""
        if self._failures >= FAILURES:
            if self._trying or self._clock() < self._opened_until:
                return None
            self._trying = True
            self._period += 1  # an earlier trial that was abandoned is not this one
        return self._period

    def succeeded(self, permit: int) -> None:
        """Report that the call was answered, be it with an error of its own."""
        if self._failures and permit == self._period:
            self._failures = 0
            self._trials = 0
            self._trying = False

    def abandoned(self, permit: int) -> None:
        """Report that the caller gave up before an answer: that says nothing about the server."""
        if permit == self._period:
            self._trying = False

    def failed(self, permit: int) -> None:
        """Report that the call was not answered."""
        if permit != self._period:
            return
        self._period += 1
        self._failures += 1
        if self._failures >= FAILURES:
            self._opened_until = self._clock() + PAUSES.pause(self._trials)
            if self._trying:
                self._trials += 1
        self._trying = False
