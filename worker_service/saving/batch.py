"""Build one upsert from raw events: decode, keep the newest event per user, set aside what cannot be stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from leaderboard_core.entries import merge_all
from leaderboard_core.events import Deletion, PoisonedEvent, ScoreEvent, decode


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event as it was taken, and why Postgres can never take it."""

    raw: str
    reason: str

    def encode(self) -> str:
        """Encode the entry of the dead-letter list: `{event, reason, at}`."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return orjson.dumps({"event": self.raw, "reason": self.reason, "at": at}).decode()


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to upsert, each user once, in order of user_id; `raw_of` finds an event's raw form again.

    An event has the entries of all events of its user, merged: `merged_raws` are those others, as they were taken.
    `traceparents` are those of all events that can be read, the superseded ones' too.
    `deletions` come before them, each user once: who is among both was made anew after the deletion.
    """

    events: Sequence[ScoreEvent]
    dead: Sequence[DeadLetter]
    superseded: int
    raw_of: dict[str, str]
    traceparents: Sequence[str] = ()
    deletions: Sequence[Deletion] = ()
    raw_deletions: dict[str, str] = field(default_factory=dict)
    merged_raws: dict[str, Sequence[str]] = field(default_factory=dict)

    def raws_of(self, event: ScoreEvent | Deletion) -> Sequence[str]:
        """Return what an event is made of, as it was taken."""
        if isinstance(event, Deletion):
            return (self.raw_deletions[event.user_id],)
        return (*self.merged_raws.get(event.user_id, ()), self.raw_of[event.user_id])

    @property
    def raws(self) -> list[str]:
        """As they were taken: deletions, newest events, what was merged into them, and what cannot be stored."""
        newest = [self.raw_of[event.user_id] for event in self.events]
        merged = [raw for event in self.events for raw in self.merged_raws.get(event.user_id, ())]
        return [*self.raw_deletions.values(), *newest, *merged, *(letter.raw for letter in self.dead)]


class _Write(NamedTuple):
    event: ScoreEvent
    raw: str


def build(raw_events: Iterable[str], region: str) -> Batch:
    """Decode events; of several by one user only the newest score is kept, and a deletion drops what is older.

    Entries are merged, whichever of the events they came with. The order by user_id makes two workers lock rows in the
    same order, so that they cannot deadlock.
    """
    writes: dict[str, list[_Write]] = {}
    gone: dict[str, tuple[Deletion, str]] = {}
    dead = []
    traceparents = []
    read = 0
    for raw in raw_events:
        try:
            event = decode(raw, region)
        except PoisonedEvent as error:
            dead.append(DeadLetter(raw, str(error)))
            continue
        read += 1
        if isinstance(event, Deletion):
            if event.user_id not in gone or gone[event.user_id][0].timestamp < event.timestamp:
                gone[event.user_id] = (event, raw)
            continue
        if event.traceparent:
            traceparents.append(event.traceparent)
        writes.setdefault(event.user_id, []).append(_Write(event, raw))
    ordered = []
    merged_raws: dict[str, Sequence[str]] = {}
    for user_id in sorted(writes):
        of_user = writes[user_id]
        if user_id in gone:
            deleted_at = gone[user_id][0].timestamp
            of_user = [write for write in of_user if write.event.timestamp > deleted_at]
        if of_user:
            newest = _newest(of_user)
            ordered.append(newest)
            if others := [write.raw for write in of_user if write.event.entries and write.raw is not newest.raw]:
                merged_raws[user_id] = others
    return Batch(
        events=[event for event, _ in ordered],
        dead=dead,
        superseded=read - len(ordered) - len(gone),
        raw_of={event.user_id: raw for event, raw in ordered},
        traceparents=traceparents,
        deletions=[gone[user_id][0] for user_id in sorted(gone)],
        raw_deletions={user_id: raw for user_id, (_, raw) in gone.items()},
        merged_raws=merged_raws,
    )


def _newest(writes: Sequence[_Write]) -> _Write:
    """Return the newest of a user's writes with a score, or of all when none has one, with the entries of all."""
    if len(writes) == 1 and len(writes[0].event.entries) < 2:
        return writes[0]
    cards = [write for write in writes if write.event.score is not None]
    event, raw = max(cards or writes, key=lambda write: write.event.timestamp)
    entries = tuple(merge_all(entry for write in writes for entry in write.event.entries))
    if entries != event.entries:
        event = replace(event, entries=entries)
    if not event.credential:  # it is a service's of an earlier version, which knows none
        known = [(card.timestamp, card.credential) for card, _ in cards if card.credential]
        before = [(at, credential) for at, credential in known if at < event.timestamp]
        event = replace(event, credential=max(before, default=(0, ""))[1])
    if (submits := max(write.event.submits for write in writes)) != event.submits:
        event = replace(event, submits=submits)
    return _Write(event, raw)


def without_undone(raw_events: Iterable[str], region: str, undone_until: int) -> list[str]:
    """Leave out the writes up to a time (µs): a restore has undone them. Deletions stay."""
    return [raw for raw in raw_events if not (undone_until and _is_write_until(raw, region, undone_until))]


def _is_write_until(raw: str, region: str, micros: int) -> bool:
    try:
        event = decode(raw, region)
    except PoisonedEvent:
        return False
    return isinstance(event, ScoreEvent) and event.timestamp <= micros


def columns(events: Sequence[ScoreEvent]) -> tuple[list[Any], ...]:
    """Build the arrays of `upsert_scores`, in its order, of events that have scores."""
    return (
        [event.user_id for event in events],
        [event.name for event in events],
        [event.region for event in events],
        [event.score for event in events],
        [event.timestamp for event in events],
        [event.protected for event in events],
        [event.key for event in events],
        [event.credential for event in events],
        [event.submits for event in events],
        [event.metadata for event in events],
    )


def entry_columns(events: Sequence[ScoreEvent]) -> tuple[list[str | int | bool], ...]:
    """Build the arrays of `upsert_entries`, in its order; empty ones when no event has entries."""
    rows = [
        (
            entry.user_id,
            entry.board_id,
            entry.window,
            event.region,
            entry.key,
            entry.member,
            entry.clock,
            entry.submits,
            entry.base_at,
            entry.best,
            entry.removed,
            entry.metadata,
            entry.last_key,
        )
        for event in events
        for entry in event.entries
    ]
    return tuple(map(list, zip(*rows, strict=True)))
