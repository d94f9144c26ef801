"""Break the circuit: after a few failures in a row, callers are refused at once instead of waiting in line."""

from __future__ import annotations

import time
from collections.abc import Callable

from leaderboard_core.backoff import Backoff

FAILURES = 3
PAUSES = Backoff(first=0.25, most=2.0)


class CircuitBreaker:
    """Closed: calls pass. Open: none passes for a while. Then one trial call passes (half-open).

    The pause doubles with every trial call that fails. Source: Nygard, "Release It!", the Circuit Breaker pattern.
    """

    __slots__ = ("_clock", "_failures", "_opened_until", "_trials", "_trying")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._trials = 0
        self._opened_until = 0.0
        self._trying = False

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES

    def allows(self) -> bool:
        """Whether a call may be made now; a caller that may must report back."""
        if self._failures < FAILURES:
            return True
        if self._trying or self._clock() < self._opened_until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """Report that the call was answered, be it with an error of its own."""
        if self._failures:
            self._failures = 0
            self._trials = 0
        self._trying = False

    def abandoned(self) -> None:
        """Report that the caller gave up before an answer: that says nothing about the server."""
        self._trying = False

    def failed(self) -> None:
        """Report that the call was not answered."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._opened_until = self._clock() + PAUSES.pause(self._trials)
            if self._trying:
                self._trials += 1
        self._trying = False
