"""Build one upsert from raw events: decode, keep the newest event per user, set aside what cannot be stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import orjson

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

    def raw(self, event: ScoreEvent | Deletion) -> str:
        """Return an event as it was taken."""
        return (self.raw_deletions if isinstance(event, Deletion) else self.raw_of)[event.user_id]

    @property
    def raws(self) -> list[str]:
        """As they were taken: deletions, events, and what cannot be stored."""
        return [*self.raw_deletions.values(), *self.raw_of.values(), *(letter.raw for letter in self.dead)]


def build(raw_events: Iterable[str], region: str) -> Batch:
    """Decode events; of several by one user only the newest score is kept, and a deletion drops what is older.

    The order by user_id makes two workers lock rows in the same order, so that they cannot deadlock.
    """
    newest: dict[str, tuple[ScoreEvent, str]] = {}
    gone: dict[str, tuple[Deletion, str]] = {}
    credentials: dict[str, list[tuple[int, str]]] = {}
    dead = []
    traceparents = []
    superseded = 0
    for raw in raw_events:
        try:
            event = decode(raw, region)
        except PoisonedEvent as error:
            dead.append(DeadLetter(raw, str(error)))
            continue
        if isinstance(event, Deletion):
            if event.user_id in gone:
                superseded += 1
                if gone[event.user_id][0].timestamp >= event.timestamp:
                    continue
            gone[event.user_id] = (event, raw)
            continue
        if event.traceparent:
            traceparents.append(event.traceparent)
        if event.credential:
            credentials.setdefault(event.user_id, []).append((event.timestamp, event.credential))
        kept = newest.get(event.user_id)
        if kept is not None:
            superseded += 1
            if kept[0].timestamp >= event.timestamp:
                continue
        newest[event.user_id] = (event, raw)
    for user_id, (deletion, _) in gone.items():
        if user_id in newest and newest[user_id][0].timestamp <= deletion.timestamp:
            superseded += 1
            del newest[user_id]
    for user_id in newest.keys() & credentials.keys():
        event, raw = newest[user_id]
        if not event.credential:  # it is a service's of an earlier version, which knows none
            since = gone[user_id][0].timestamp if user_id in gone else 0
            before = [(at, known) for at, known in credentials[user_id] if since < at < event.timestamp]
            newest[user_id] = (replace(event, credential=max(before, default=(0, ""))[1]), raw)
    ordered = [newest[user_id] for user_id in sorted(newest)]
    return Batch(
        events=[event for event, _ in ordered],
        dead=dead,
        superseded=superseded,
        raw_of={event.user_id: raw for event, raw in ordered},
        traceparents=traceparents,
        deletions=[gone[user_id][0] for user_id in sorted(gone)],
        raw_deletions={user_id: raw for user_id, (_, raw) in gone.items()},
    )


def without_undone(raw_events: Iterable[str], region: str, undone_until: int) -> list[str]:
    """Leave out the scores up to a time (µs): a restore has undone them. Deletions stay."""
    return [raw for raw in raw_events if not (undone_until and _is_score_until(raw, region, undone_until))]


def _is_score_until(raw: str, region: str, micros: int) -> bool:
    try:
        event = decode(raw, region)
    except PoisonedEvent:
        return False
    return isinstance(event, ScoreEvent) and event.timestamp <= micros


def columns(
    events: Sequence[ScoreEvent],
) -> tuple[list[str], list[str], list[str], list[int], list[int], list[bool], list[str], list[str]]:
    """Build the arrays of `upsert_scores`: user_ids, names, regions, scores, µs, protected, last keys, credentials."""
    return (
        [event.user_id for event in events],
        [event.name for event in events],
        [event.region for event in events],
        [event.score for event in events],
        [event.timestamp for event in events],
        [event.protected for event in events],
        [event.key for event in events],
        [event.credential for event in events],
    )
