"""Count the acknowledged writes that are lost or doubled, where some may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from leaderboard_core.redis.partition import index_of
from tests.faults.ledger import NEVER, Ledger, Outcome, Player


class Losses(NamedTuple):
    """Acknowledged writes, and how many of them are lost; writes of any outcome that were counted twice.

    A set that is lost and was followed by another one is not seen.
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
        self._count(player)

    def settle(self, player: Player, number: int, outcome: Outcome) -> None:
        super().settle(player, number, outcome)
        if outcome is Outcome.ACKNOWLEDGED:
            self._count(player)

    def _count(self, player: Player) -> None:
        self.by_partition[index_of(player.user_id, self.partitions)] += 1


class CountingLedger(PartitionedLedger):
    """A ledger that goes on when an answer contradicts it: `losses` says what is gone."""

    contradictions = 0

    def report(self, problem: str) -> None:
        self.contradictions += 1

    def losses(self, scores: Mapping[str, int]) -> Losses:
        """Compare with the scores that are left by user_id."""
        lost = doubled = 0
        for player in self.players.values():
            score = scores.get(player.user_id)
            done = [number for number, outcome in enumerate(player.outcomes) if outcome is Outcome.ACKNOWLEDGED]
            if score is None:
                lost += len(done) + (player.adds and player.created_at != NEVER)
            elif player.adds:
                times = player.times(score)
                lost += sum(not times[number] for number in done)
                doubled += sum(count > 1 for count in times)
            elif player.outcomes[score] is not Outcome.UNKNOWN:  # one that may be applied late, over a later one
                lost += sum(number > score for number in done)
        return Losses(self.acknowledged, lost, doubled)
