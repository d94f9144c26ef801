"""Record what clients were told, and derive exactly which scores are possible.

A player makes one kind of write. The n-th write of an *adding* player adds 4^n, so that a score read in base 4
says how often each single write was counted. The n-th write of a *setting* player sets the score n.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

NEVER = sys.maxsize
MOST_WRITES = 26
"""4^26 is the largest power of four whose sums stay under 2^53."""

SNAPSHOT_SECONDS = 6.0
"""Reads from Postgres are of a snapshot, a second old, or older in a replica that was stopped (decision 18)."""
_CHECKPOINT_SECONDS = 0.1

Source = Literal["redis", "postgres"]


class Outcome(Enum):
    """UNKNOWN: sent, without a clear answer; REFUSED: every attempt was refused, so nothing may have changed."""

    UNKNOWN = "unknown"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"


class Violation(AssertionError):
    """A broken guarantee; the text is the evidence."""


@dataclass(slots=True, eq=False)
class Player:
    """A player and the outcome of each of its writes.

    Creation is a setting player's write 0. The ledger's clock is kept of each acknowledgement and of the first
    time each write was seen in Postgres: what was known when a read was sent must be in its answer.
    """

    user_id: str
    name: str
    region: str
    adds: bool
    token: str = ""
    secret: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    created_at: int = NEVER
    saved_at: int = NEVER
    done_at: dict[int, int] = field(default_factory=dict)
    write_saved_at: dict[int, int] = field(default_factory=dict)

    def begin(self) -> int:
        """Record a write before it is sent; return its number."""
        self.outcomes.append(Outcome.UNKNOWN)
        return len(self.outcomes) - 1

    def amount(self, number: int) -> int:
        """Return what the write `number` sends: a delta or a score."""
        return 4**number if self.adds else number

    def floor(self, at: int, source: Source = "redis") -> frozenset[int]:
        """Return the writes that an answer must include that was asked for at `at` (setting players: the last)."""
        known = self.done_at if source == "redis" else self.write_saved_at
        numbers = [number for number, when in known.items() if when <= at]
        return frozenset(numbers if self.adds or not numbers else {max(numbers)})

    def must_exist(self, at: int, source: Source) -> bool:
        """Tell whether an answer that was asked for at `at` must have this player."""
        return (self.created_at if source == "redis" else self.saved_at) <= at

    def applied(self, score: int) -> frozenset[int]:
        """Return the writes that a score includes. Raises Violation when no set of writes counted once gives it."""
        if not self.adds:
            if score not in range(len(self.outcomes)):
                raise Violation(f"{self.user_id} has score {score}, which was never set")
            return frozenset({score})
        found, rest, number = [], score, 0
        while rest > 0:
            rest, times = divmod(rest, 4)
            if times > 1:
                raise Violation(f"{self.user_id}: write {number} was counted {times} times ({self._fate(number)})")
            if times:
                found.append(number)
            number += 1
        if rest or number > len(self.outcomes):
            raise Violation(f"{self.user_id} has score {score}, which no sum of its {len(self.outcomes)} writes makes")
        return frozenset(found)

    def times(self, score: int) -> list[int]:
        """Return how often a score of an adding player counts each of its writes."""
        return [score >> 2 * number & 3 for number in range(len(self.outcomes))]

    def check(self, score: int, floor: frozenset[int]) -> frozenset[int]:
        """Return the writes that a score includes. Raises Violation for a refused one, or one of `floor` missing."""
        found = self.applied(score)
        refused = sorted(number for number in found if self.outcomes[number] is Outcome.REFUSED)
        if refused:
            raise Violation(f"{self.user_id}: refused writes {refused} were counted")
        if self.adds:
            missing = sorted(floor - found)
            if missing:
                raise Violation(f"{self.user_id}: acknowledged writes {missing} are missing in score {score}")
        elif floor and score < max(floor) and self.outcomes[score] is not Outcome.UNKNOWN:
            # An unknown one may be applied late, over a later one.
            raise Violation(f"{self.user_id} has score {score}; {max(floor)} was acknowledged after it")
        return found

    def _fate(self, number: int) -> str:
        return self.outcomes[number].value if number < len(self.outcomes) else "never sent"


class Checkpoint(NamedTuple):
    """The ledger's clock, and the players known to be saved by board, at a moment (monotonic)."""

    at: float
    clock: int
    saved: Counter[str]


class Ledger:
    """All players, how many must be on each board, and the violations found during the run."""

    def __init__(self, regions: Iterable[str]) -> None:
        self.regions = tuple(regions)
        self.players: dict[str, Player] = {}
        self.begun: Counter[str] = Counter()
        self.there: Counter[str] = Counter()
        self.saved: Counter[str] = Counter()
        self.leaving: Counter[str] = Counter()
        self.clock = 0
        self.snapshot_seconds = SNAPSHOT_SECONDS
        self._checkpoints: deque[Checkpoint] = deque()
        self.acknowledged = 0
        self.answers: Counter[str] = Counter()
        self.violations: list[str] = []

    def new_player(self, user_id: str, name: str, region: str, *, adds: bool, leaves: bool = False) -> Player:
        """Record a player before its creation is sent; one that `leaves` may be missing at any time."""
        player = self.players[user_id] = Player(user_id, name, region, adds)
        if not adds:
            player.begin()
        for board in {region, "GLOBAL"}:
            self.begun[board] += 1
            self.leaving[board] += leaves
        return player

    def created(self, player: Player) -> None:
        """Record that its creation was acknowledged."""
        if player.created_at == NEVER:
            self._advance()
            player.created_at = self.clock
            self.acknowledged += 1
            if not player.adds:
                player.outcomes[0] = Outcome.ACKNOWLEDGED
                player.done_at[0] = self.clock
            for board in {player.region, "GLOBAL"}:
                self.there[board] += 1

    def settle(self, player: Player, number: int, outcome: Outcome) -> None:
        """Record the outcome of a write."""
        player.outcomes[number] = outcome
        if outcome is Outcome.ACKNOWLEDGED:
            self._advance()
            player.done_at[number] = self.clock
            self.acknowledged += 1

    def before_snapshot(self) -> Checkpoint:
        """Return what was known before any snapshot was taken that may answer a read of now from Postgres."""
        now = time.monotonic()
        checkpoints, oldest = self._checkpoints, now - self.snapshot_seconds
        if not checkpoints or now - checkpoints[-1].at >= _CHECKPOINT_SECONDS or self.snapshot_seconds == 0:
            checkpoints.append(Checkpoint(now, self.clock, Counter(self.saved)))
        while len(checkpoints) > 1 and checkpoints[1].at <= oldest:
            checkpoints.popleft()
        return checkpoints[0] if checkpoints[0].at <= oldest else Checkpoint(oldest, 0, Counter())

    def _advance(self) -> None:
        self.clock += 1

    def saw_row(self, player: Player, found: frozenset[int]) -> None:
        """Record that Postgres has a row with these writes: from now on never fewer."""
        self._advance()  # a read that was sent before may have been answered before
        player.saved_at = min(player.saved_at, self.clock)
        if player.adds:
            for number in found:
                player.write_saved_at.setdefault(number, self.clock)

    def all_is_saved(self) -> None:
        """Record that Postgres has all acknowledged writes: none is in flight and the queues are empty."""
        self._advance()
        for player in self.players.values():
            if player.created_at != NEVER:
                player.saved_at = min(player.saved_at, self.clock)
            for number in player.done_at:
                player.write_saved_at.setdefault(number, self.clock)
        self.see_saved({region: self._living(region) for region in self.regions})

    def _living(self, region: str) -> int:
        return sum(player.region == region and player.created_at != NEVER for player in self.players.values())

    def see_saved(self, counts: dict[str, int]) -> None:
        """Record how many players of each home region Postgres has: from now on never fewer."""
        for region, count in counts.items():
            if region != "GLOBAL":
                self.see_total(region, count)
        self.see_total("GLOBAL", sum(counts.values()))

    def see_total(self, board: str, count: int) -> None:
        """Record a board's total in an answer from Postgres."""
        self.saved[board] = max(self.saved[board], count)
        others = sum(count for region, count in self.saved.items() if region != "GLOBAL")
        self.saved["GLOBAL"] = max(self.saved["GLOBAL"], others)

    def report(self, problem: str) -> None:
        """Record a violation."""
        self.violations.append(problem)


def board_order(rows: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Sort (user_id, score) pairs in board order."""
    return sorted(rows, key=lambda row: (row[1], row[0].encode()), reverse=True)


def ranks(rows: list[tuple[str, int]]) -> list[int]:
    """Return the standard competition ranks of rows in board order."""
    found: list[int] = []
    for index, (_, score) in enumerate(rows):
        found.append(found[-1] if index and rows[index - 1][1] == score else index + 1)
    return found
