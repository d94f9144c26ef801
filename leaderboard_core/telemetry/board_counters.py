"""Counts reads and writes of boards, by the board's name where that is one of a few, so that series stay few."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from leaderboard_core.settings.limits import OTHER_BOARDS
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
        SCORE_WRITES.show(labels, _OUTCOMES)
        READS.show(labels, ("redis", "postgres"))

    def count_write(self, board: str, outcome: str) -> None:
        """Count a write of a score, by what came of it."""
        SCORE_WRITES.count(board if board in self._names else OTHER_BOARDS, outcome)

    def count_read(self, board: str, source: str) -> None:
        """Count a read, by where it came from."""
        READS.count(board if board in self._names else OTHER_BOARDS, source)
