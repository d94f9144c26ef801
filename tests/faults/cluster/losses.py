"""Count the acknowledged writes that are lost or doubled, where some may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from leaderboard_core.redis.partition import index_of
from tests.faults.ledger import Ledger
from tests.faults.records import MAIN, NEVER, Kind, Outcome, Player, Record


class Losses(NamedTuple):
    """Acknowledged writes, and how many of them are lost; writes of any outcome that were counted twice.

    A set that is lost and was followed by another one is not seen, nor one that was not the best.
    """

    acknowledged: int
    lost: int
    doubled: int

    def since(self, earlier: Losses) -> Losses:
        """Return what came after."""
        return Losses(*(now - before for now, before in zip(self, earlier, strict=True)))


class PartitionedLedger(Ledger):
    """A ledger that counts acknowledgements by partition."""

    def __init__(self, regions: Iterable[str], partitions: int) -> None:
        super().__init__(regions)
        self.partitions = partitions
        self.by_partition: Counter[int] = Counter()

    def created(self, player: Player) -> None:
        super().created(player)
        self._count_partition(player)

    def settle(self, record: Record, number: int, outcome: Outcome) -> None:
        super().settle(record, number, outcome)
        if outcome is Outcome.ACKNOWLEDGED:
            self._count_partition(record)

    def _count_partition(self, record: Record) -> None:
        self.by_partition[index_of(record.user_id, self.partitions)] += 1


class CountingLedger(PartitionedLedger):
    """A ledger that goes on when an answer contradicts it: `losses` says what is gone."""

    contradictions = 0

    def report(self, problem: str) -> None:
        self.contradictions += 1

    def losses(self, scores: Mapping[tuple[str, str], int]) -> Losses:
        """Compare with the scores that are left, by board and user_id. What was removed is not looked at."""
        lost = doubled = 0
        for player in self.players.values():
            for record in player.records:
                of_record = _losses_of(record, scores.get((record.board, record.user_id)))
                lost, doubled = lost + of_record[0], doubled + of_record[1]
        return Losses(self.acknowledged, lost, doubled)


def _losses_of(record: Record, score: int | None) -> tuple[int, int]:
    """Count the writes of a record that are lost, and those that are doubled."""
    numbers = range(record.kept_from, len(record.outcomes))
    done = [number for number in numbers if record.outcomes[number] is Outcome.ACKNOWLEDGED]
    if score is None:
        registered = record.board == MAIN and record.adds and record.created_at != NEVER
        return len(done) + registered, 0
    if record.kind is Kind.ADDS:
        times = record.times(score)
        return sum(not times[number] for number in done), sum(count > 1 for count in times)
    if record.kind is Kind.BEST:
        return sum(record.amount(number) < score for number in done), 0
    late = record.outcomes[score] is Outcome.UNKNOWN  # it may be applied over a later one
    return 0 if late else sum(number > score for number in done), 0
