"""Derive from canary, snapshots and marks what each new life of Redis may have lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.history.operations import Loss


class ReturnedError(Exception):
    """A life of Redis began with data that an earlier loss had undone: nothing can be said about that history."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A value written to Redis; numbers are never used again. `end` (ns) is None when no answer came."""

    number: int
    start: int
    end: int | None


@dataclass(slots=True)
class Life:
    """What the canary saw of one process of Redis: its pid, the number that it had at first, and what came then."""

    pid: int
    found: int
    found_at: int
    beats: list[Beat] = field(default_factory=list)
    down: list[int] = field(default_factory=list)
    """Starts (ns) of attempts after its end that prove that no successor served: refused, or still loading."""

    def note(self, number: int, start: int, end: int | None) -> None:
        """Note a value that was written, or sent without an answer."""
        self.beats.append(Beat(number, start, end))

    @property
    def last_answer(self) -> int:
        """Return the start (ns) of the last call that it answered."""
        return max((beat.start for beat in self.beats if beat.end is not None), default=self.found_at)


@dataclass(frozen=True, slots=True)
class Mark:
    """Everything acknowledged up to `at` (ns) was in Postgres, seen from the Redis of this pid."""

    at: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Each player's `updated_at` (µs) in Postgres, as read until `end` (ns)."""

    end: int
    rows: Mapping[str, int]


def losses(lives: Iterable[Life], marks: Iterable[Mark], snapshots: Iterable[Snapshot]) -> list[Loss]:
    """List a loss for each life after the first. Raises ReturnedError."""
    marks, snapshots = tuple(marks), tuple(snapshots)
    found: list[Loss] = []
    line: list[Beat] = []
    before: Life | None = None
    for life in lives:
        if before is not None:
            line += before.beats
            kept = [beat for beat in line if beat.number <= life.found]
            if life.found and (not kept or kept[-1].number != life.found):
                raise ReturnedError(f"beat {life.found} was lost before, and is there again")
            lost, line = line[len(kept) :], kept
            since = kept[-1].start if kept else 0
            since = max([since, *(mark.at for mark in marks if mark.pid == before.pid and mark.at <= life.found_at)])
            proof = max([before.last_answer, *before.down])
            committed: dict[str, int] = {}
            for snapshot in snapshots:
                if snapshot.end < proof:
                    for user_id, updated_at in snapshot.rows.items():
                        committed[user_id] = max(updated_at, committed.get(user_id, 0))
            seen = any(beat.end is not None for beat in lost)
            found.append(Loss(len(found) + 1, before.last_answer, life.found_at, since, seen, committed))
        before = life
    return found
