"""Record what clients were told of one score of a player, and derive exactly which values it may have.

A record takes one kind of write. The n-th write of an *adding* one adds 4^n, so that a score read in base 4 says how
often each single write was counted. The n-th write of a *setting* one sets the score n. Of one that keeps the *best*,
where the lowest is best, every third write is better than all before, the next one worse, and the one after that equal.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

NEVER = sys.maxsize
MOST_WRITES = 26
"""4^26 is the largest power of four whose sums stay under 2^53."""

MAIN = "main"
_STEP, _BEHIND_BEST = 3, (0, 2, 0)

Source = Literal["redis", "postgres"]


class Outcome(Enum):
    """UNKNOWN: sent, without a clear answer; REFUSED: every attempt was refused, so nothing may have changed."""

    UNKNOWN = "unknown"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"


class Kind(Enum):
    """What a write does."""

    ADDS = "adds"
    SETS = "sets"
    BEST = "best"


class Violation(AssertionError):
    """A broken guarantee; the text is the evidence."""


@dataclass(slots=True, eq=False)
class Record:
    """A player's score on one board, and the outcome of each write to it.

    The ledger's clock is kept of each acknowledgement and of the first time each write was seen in Postgres: what was
    known when a read was sent must be in its answer. A removal takes the writes before `kept_from`: from when it is
    sent they may be missing, from when it is acknowledged (`gone_at`) they must be. Those without an answer may come
    late, after the removal too.
    """

    user_id: str
    board: str
    kind: Kind
    scopes: tuple[str, ...]
    """Of which rankings it is counted in the totals."""
    outcomes: list[Outcome] = field(default_factory=list)
    created_at: int = NEVER
    saved_at: int = NEVER
    done_at: dict[int, int] = field(default_factory=dict)
    write_saved_at: dict[int, int] = field(default_factory=dict)
    kept_from: int = 0
    gone_at: dict[int, int] = field(default_factory=dict)
    gone_saved_at: dict[int, int] = field(default_factory=dict)
    absent_at: int = NEVER
    absent_saved_at: int = NEVER
    counted: bool = False
    leaves: bool = False
    closed: bool = False
    """Nothing more is written: a removal may come late, and nobody could say what of."""
    corrections: set[int] = field(default_factory=set)
    """Writes that set what stands after them (`force`): no submits are counted of these."""

    @property
    def adds(self) -> bool:
        return self.kind is Kind.ADDS

    @property
    def full(self) -> bool:
        """Whether it takes no more writes."""
        return self.closed or len(self.outcomes) >= MOST_WRITES

    def begin(self) -> int:
        """Record a write before it is sent; return its number."""
        self.expect()
        self.outcomes.append(Outcome.UNKNOWN)
        return len(self.outcomes) - 1

    def expect(self) -> None:
        """Record that from now on it may be there again."""
        self.absent_at = self.absent_saved_at = NEVER

    def amount(self, number: int) -> int:
        """Return what the write `number` sends: a delta or a score."""
        match self.kind:
            case Kind.ADDS:
                return int(4**number)
            case Kind.SETS:
                return number
            case Kind.BEST:
                return _STEP * (MOST_WRITES - number // _STEP) + _BEHIND_BEST[number % _STEP]

    def correction(self, number: int) -> int | None:
        """Return the score that a correction may set instead of the write `number`, to the same end.

        None where that is not known: of a sum while an earlier write may count or not, of the best for a worse score.
        """
        if self.kind is Kind.BEST:
            return None if number % _STEP else self.amount(number)
        if self.kind is Kind.SETS:
            return self.amount(number)
        before = self.outcomes[:number]
        if self.kept_from or Outcome.UNKNOWN in before:
            return None
        counted = [*(at for at, outcome in enumerate(before) if outcome is Outcome.ACKNOWLEDGED), number]
        return sum(map(self.amount, counted))

    def begin_removal(self) -> None:
        """Record a removal before it is sent."""
        self.kept_from = len(self.outcomes)
        self.created_at = self.saved_at = NEVER

    def removed(self, clock: int) -> None:
        """Record that a removal was acknowledged."""
        self.absent_at = clock
        for number in self.done_at:
            if number < self.kept_from:
                self.gone_at.setdefault(number, clock)

    def floor(self, at: int, source: Source = "redis") -> frozenset[int]:
        """Return the writes that an answer must include that was asked for at `at`.

        Of setting ones it is the last, of those that keep the best one at least as good as each.
        """
        known = self.done_at if source == "redis" else self.write_saved_at
        numbers = [number for number, when in known.items() if when <= at and number >= self.kept_from]
        return frozenset({max(numbers)} if self.kind is Kind.SETS and numbers else numbers)

    def gone(self, at: int, source: Source = "redis") -> frozenset[int]:
        """Return the writes that no answer may include that was asked for at `at`."""
        known = self.gone_at if source == "redis" else self.gone_saved_at
        return frozenset(number for number, when in known.items() if when <= at)

    def must_exist(self, at: int, source: Source) -> bool:
        """Tell whether an answer that was asked for at `at` must have it."""
        return (self.created_at if source == "redis" else self.saved_at) <= at

    def must_be_absent(self, at: int, source: Source) -> bool:
        """Tell whether an answer that was asked for at `at` must not have it."""
        known = self.absent_at if source == "redis" else self.absent_saved_at
        return known <= at and Outcome.UNKNOWN not in self.outcomes

    def applied(self, score: int) -> frozenset[int]:
        """Return the writes that a score includes, of the best those that it may be.

        Raises Violation when no set of writes counted once gives it.
        """
        if not self.adds:
            found = frozenset(number for number in range(len(self.outcomes)) if self.amount(number) == score)
            if not found:
                raise Violation(f"{self} has score {score}, which was never set")
            return found
        numbers, rest, number = [], score, 0
        while rest > 0:
            rest, times = divmod(rest, 4)
            if times > 1:
                raise Violation(f"{self}: write {number} was counted {times} times ({self._fate(number)})")
            if times:
                numbers.append(number)
            number += 1
        if rest or number > len(self.outcomes):
            raise Violation(f"{self} has score {score}, which no sum of its {len(self.outcomes)} writes makes")
        return frozenset(numbers)

    def times(self, score: int) -> list[int]:
        """Return how often a score of an adding player counts each of its writes."""
        return [score >> 2 * number & 3 for number in range(len(self.outcomes))]

    def check_at(self, score: int, at: int, source: Source = "redis", *, write: int | None = None) -> frozenset[int]:
        """Check a score in an answer that was asked for at `at`. Returns the writes in it; raises Violation."""
        if self.must_be_absent(at, source):
            raise Violation(f"{self} was removed, and is there with score {score}")
        return self.check(score, self.floor(at, source), self.gone(at, source), write=write)

    def check(
        self, score: int, floor: frozenset[int], gone: frozenset[int] = frozenset(), *, write: int | None = None
    ) -> frozenset[int]:
        """Return the writes that a score includes, of which `write` is the one that is known to stand.

        Raises Violation for a refused one, one of `floor` missing, or one that is `gone`.
        """
        found = self.applied(score)
        if self.kind is Kind.BEST:
            return self._check_best(score, found, floor, gone, write)
        refused = sorted(number for number in found if self.outcomes[number] is Outcome.REFUSED)
        if refused:
            raise Violation(f"{self}: refused writes {refused} were counted")
        if found & gone:
            raise Violation(f"{self}: writes {sorted(found & gone)} of before a removal are in score {score}")
        if self.adds:
            missing = sorted(floor - found)
            if missing:
                raise Violation(f"{self}: acknowledged writes {missing} are missing in score {score}")
        elif floor and score < max(floor) and self.outcomes[score] is not Outcome.UNKNOWN:
            # An unknown one may be applied late, over a later one.
            raise Violation(f"{self} has score {score}; {max(floor)} was acknowledged after it")
        return found

    def _check_best(
        self, score: int, found: frozenset[int], floor: frozenset[int], gone: frozenset[int], write: int | None
    ) -> frozenset[int]:
        better = sorted(number for number in floor if self.amount(number) < score)
        if better:
            raise Violation(f"{self} has score {score}; the acknowledged writes {better} are better")
        # Who was there first stays: an acknowledged write is never replaced by an equal one that began after it.
        first = min((number for number in floor if self.amount(number) == score), default=NEVER)
        possible = {
            number
            for number in found - gone
            if self.outcomes[number] is not Outcome.REFUSED and number <= first and write in (None, number)
        }
        if not possible:
            fates = {number: self._fate(number) for number in sorted(found)}
            raise Violation(f"{self} has score {score} of write {write}, of {fates}; gone: {sorted(gone)}")
        return frozenset(possible)

    def check_submits(self, submits: int) -> None:
        """Check how many submits were counted in all. Raises Violation."""
        counted = [outcome for number, outcome in enumerate(self.outcomes) if number not in self.corrections]
        least = counted.count(Outcome.ACKNOWLEDGED)
        most = least + counted.count(Outcome.UNKNOWN)
        if not least <= submits <= most:
            raise Violation(f"{self} has {submits} submits, not {least} to {most}")

    def check_answer(self, number: int, at: int, answer: dict[str, object]) -> None:
        """Check the answer to the write `number`, which was begun at `at`. Raises Violation."""
        score, previous = answer["score"], answer.get("previous")
        assert isinstance(score, int)
        right = score <= self.amount(number) if self.kind is Kind.BEST else number in self.applied(score)
        if self.adds and isinstance(previous, int):
            right = right and score - previous == self.amount(number)
        if not right or answer.get("board", MAIN) != self.board:
            raise Violation(f"{self}: write {number} was answered with {answer}")
        self.check_at(score, at)

    def _fate(self, number: int) -> str:
        return self.outcomes[number].value if number < len(self.outcomes) else "never sent"

    def __str__(self) -> str:
        return self.user_id if self.board == MAIN else f"{self.user_id} on {self.board}"


@dataclass(slots=True, eq=False, kw_only=True)
class Player(Record):
    """A player: its record on `main`, and those of its entries on other boards.

    Creation is a setting player's write 0.
    """

    name: str
    region: str
    token: str = ""
    secret: str = ""
    entries: dict[str, Record] = field(default_factory=dict)

    @property
    def records(self) -> list[Record]:
        return [self, *self.entries.values()]
