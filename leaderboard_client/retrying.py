"""Compute the pauses between the attempts of a call.

The client imports nothing of the system, so it has its own exponential back-off.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of one call, in seconds.

    `timeout` is the longest silence of one attempt, `max_wait` the time after which no further attempt begins.
    Pauses grow from `first_pause` to `longest_pause`, with jitter, so that clients that failed together do not
    retry together.
    """

    timeout: float = 10.0
    max_wait: float = 30.0
    first_pause: float = 0.1
    longest_pause: float = 5.0
    chance: Callable[[], float] = random.random

    def pause(self, attempt: int, retry_after: float | None = None, first: float | None = None) -> float:
        """Return the seconds before the attempt after number `attempt` (from 0).

        Never less than `retry_after`, when given; `first` replaces `first_pause`.
        """
        first = self.first_pause if first is None else first
        grown = min(max(self.longest_pause, first), first * 2.0 ** min(attempt, 30))
        if retry_after is None:
            return grown * (1 + self.chance()) / 2
        return retry_after + min(grown, max(first, retry_after)) * self.chance()


def retry_after_of(header: str | None, stated: object = None) -> float | None:
    """Return the seconds until a retry: those in the envelope, else the Retry-After header, else None."""
    if isinstance(stated, int | float) and not isinstance(stated, bool) and math.isfinite(stated) and stated >= 0:
        return float(stated)
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    # A date without a zone is one in UTC (RFC 9110).
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
