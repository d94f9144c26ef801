"""Hold recorded operations and losses, and write them as the lines that the checker reads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["add", "set", "read"]
Outcome = Literal["ok", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request; `start` and `end` are ns since the history's origin, `end` is None while it is under way."""

    door: str
    start: int
    end: int | None
    outcome: Outcome
    said: str


@dataclass(slots=True)
class Operation:
    """An add, set or read of one player, recorded when it begins, so that one that is broken off is in the history.

    `score` is the score in the answer: None where the answer said that there is no such player.
    """

    client: int
    kind: Kind
    player: str
    argument: int = 0
    key: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    outcome: Outcome = "unknown"
    score: int | None = None
    updated_at: int = 0
    source: str = ""

    @property
    def possible(self) -> list[Attempt]:
        """List the attempts that may have taken effect."""
        return [attempt for attempt in self.attempts if attempt.outcome != "refused"]

    @property
    def start(self) -> int:
        return (self.possible or self.attempts)[0].start

    @property
    def end(self) -> int | None:
        """Return when it certainly had taken effect; None when that is not known."""
        return None if self.outcome == "unknown" else self.attempts[-1].end


@dataclass(frozen=True, slots=True)
class Loss:
    """A new life of Redis: between `start` and `end` it may have lost what had not ended at `since` (ns).

    `seen` tells that an acknowledged value of the canary was lost. `committed` has each player's `updated_at` (µs)
    in Postgres before the new life.
    """

    number: int
    start: int
    end: int
    since: int
    seen: bool
    committed: Mapping[str, int] = field(default_factory=dict)

    def may_undo(self, operation: Operation) -> bool:
        """Tell whether the operation, or for a read what it saw, may have been lost."""
        if operation.start > self.end:
            return False
        if operation.end is None:
            return True
        if operation.kind != "read" and operation.updated_at <= self.committed.get(operation.player, 0):
            return False
        return operation.end >= self.since


class History:
    """All operations of a run, by one clock."""

    def __init__(self) -> None:
        self._origin = time.monotonic_ns()
        self.operations: list[Operation] = []

    def now(self) -> int:
        """Return ns since the origin."""
        return time.monotonic_ns() - self._origin

    def begin(self, client: int, kind: Kind, player: str, argument: int = 0, key: str = "") -> Operation:
        """Record an operation before its first attempt."""
        operation = Operation(client, kind, player, argument, key)
        self.operations.append(operation)
        return operation

    def lines(self, losses: Iterable[Loss], about: Mapping[str, Any]) -> list[str]:
        """Encode the history, one JSON object a line: what it is about, the losses, the operations by start."""
        losses = tuple(losses)
        found: list[dict[str, Any]] = [{"kind": "about", **about}]
        found += [
            {"kind": "loss", "loss": loss.number, "start": loss.start, "end": loss.end}
            | {"since": loss.since, "seen": loss.seen}
            for loss in losses
        ]
        sent = [operation for operation in self.operations if operation.attempts]
        for operation in sorted(sent, key=lambda one: one.start):
            found += encode(operation, losses)
        return [json.dumps(line) for line in found]


def encode(operation: Operation, losses: Iterable[Loss]) -> list[dict[str, Any]]:
    """Encode an operation as what the checker takes it for, usually one line.

    A write that was repeated over a loss may have been done once on each side. It becomes an unknown write for each
    such loss, and if it was acknowledged a `repeated` one: done then, with that score, or answered from before.
    """
    losses = tuple(losses)
    line: dict[str, Any] = {
        "kind": operation.kind,
        "player": operation.player,
        "client": operation.client,
        "start": operation.start,
        "end": operation.end,
        "argument": operation.argument,
        "outcome": operation.outcome,
        "score": operation.score,
        "updated_at": operation.updated_at,
        "source": operation.source,
        "from_redis": operation.source == "redis",
        "key": operation.key,
        "undone_by": [loss.number for loss in losses if loss.may_undo(operation)],
        "attempts": [[one.door, one.start, one.end, one.outcome, one.said] for one in operation.attempts],
    }
    again = min(sum(_straddles(operation, loss) for loss in losses), len(operation.possible) - 1)
    if operation.kind == "read" or again < 1:
        return [line]
    unknown = Operation(operation.client, operation.kind, operation.player, attempts=operation.attempts)
    before = {
        "end": None,
        "outcome": "unknown",
        "score": None,
        "undone_by": [loss.number for loss in losses if loss.may_undo(unknown)],
    }
    last = {"outcome": "repeated"} if operation.outcome == "ok" else {}
    return [*([line | before] * again), line | last]


def _straddles(operation: Operation, loss: Loss) -> bool:
    """Tell whether one attempt may have been done before a loss of data, and a later one after it."""
    possible = operation.possible
    if not loss.seen or len(possible) < 2:
        return False
    last = possible[-1].end
    return possible[0].start <= loss.end and (last is None or last >= loss.start)
