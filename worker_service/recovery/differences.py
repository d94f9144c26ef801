"""Say what differs between Redis and Postgres, and look again at what may only be on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

CHUNK = 500
MOST_DIFFERENCES = 100_000
RECHECK_SECONDS = 0.2

STRAY = "is on a Redis that holds another partition"


class Difference(NamedTuple):
    """A player whose Redis hash, boards and Postgres row do not agree, or whose entries do not, and how."""

    region: str
    user_id: str
    problem: str


@dataclass(slots=True)
class Report:
    """`pending` events were not in Postgres yet when the comparison ended; their players are not verified.

    Of `differences`, with what became of them, `repaired` are mended; `unrepaired` need a word of the operator.
    """

    players: int = 0
    entries: int = 0
    pending: int = 0
    differences: list[Difference] = field(default_factory=list)
    repaired: list[tuple[Difference, str]] = field(default_factory=list)
    unrepaired: list[tuple[Difference, str]] = field(default_factory=list)
    truncated: bool = False


class Verified(NamedTuple):
    """What a look at some players found: differences, players that cannot be verified now, and uncommitted events."""

    differences: list[Difference]
    changing: set[str]
    uncommitted: int


Look: TypeAlias = Callable[[Sequence[str]], Awaitable[Verified]]


async def recheck(candidates: Collection[str], look: Look, report: Report, wait_seconds: float) -> list[Difference]:
    """Find the candidates that really differ; those that cannot be verified in time count as pending."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    differences: list[Difference] = []
    while candidates:
        unverified: set[str] = set()
        events = 0
        for first in range(0, len(candidates), CHUNK):
            found = await look(sorted(candidates)[first : first + CHUNK])
            differences += found.differences
            unverified |= found.changing
            events = max(events, found.uncommitted)
        if unverified and loop.time() > deadline:
            report.pending += max(events, len(unverified))
            break
        candidates = unverified
        if candidates:
            await asyncio.sleep(RECHECK_SECONDS)
    return differences
