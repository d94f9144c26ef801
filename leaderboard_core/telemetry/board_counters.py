"""Counts reads and writes of boards, by the board's name where that is one of a few, so that series stay few."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from leaderboard_core.settings.limits import OTHER_BOARDS
from leaderboard_core.telemetry.exposition import count_from_zero
from leaderboard_core.telemetry.metrics import READS, SCORE_WRITES

_OUTCOMES: Final = (
    *("ok", "unchanged", "replay"),
    *("rate_limited", "region_rate_limited", "queue_full", "score_out_of_range", "warming_up"),
)


class BoardCounters:
    """Counters of the boards that are named, and of the others together."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        labels = sorted({*self._names, OTHER_BOARDS})
        count_from_zero(SCORE_WRITES, labels, _OUTCOMES)
        count_from_zero(READS, labels, ("redis", "postgres"))

    def count_write(self, board: str, outcome: str) -> None:
        """Count a write of a score, by what came of it."""
        _of_writes(board if board in self._names else OTHER_BOARDS, outcome).inc()

    def count_read(self, board: str, source: str) -> None:
        """Count a read, by where it came from."""
        _of_reads(board if board in self._names else OTHER_BOARDS, source).inc()


# Looking a child up by its labels costs more than counting with it.
@cache
def _of_writes(board: str, outcome: str) -> Any:
    return SCORE_WRITES.labels(board, outcome)


@cache
def _of_reads(board: str, source: str) -> Any:
    return READS.labels(board, source)
