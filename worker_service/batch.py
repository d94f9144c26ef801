"""From raw events to one upsert: decoding, the newest event per user, and what cannot be stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from leaderboard_core.events import PoisonedEvent, ScoreEvent, decode


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event as it was taken, and why Postgres can never take it."""

    raw: str
    reason: str

    def encode(self) -> str:
        """The entry of the dead-letter list: `{event, reason, at}`."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return orjson.dumps({"event": self.raw, "reason": self.reason, "at": at}).decode()


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to upsert, each user once, in order of user_id; `raw_of` finds an event's raw form again.

    `traceparents` are those of all events that can be read, the superseded ones' too.
    """

    events: Sequence[ScoreEvent]
    dead: Sequence[DeadLetter]
    superseded: int
    raw_of: dict[str, str]
    traceparents: Sequence[str] = ()


def build(raw_events: Iterable[str], region: str) -> Batch:
    """Decode events; of several by one user only the newest is kept.

    The order by user_id makes two workers lock rows in the same order, so that they cannot deadlock.
    """
    newest: dict[str, tuple[ScoreEvent, str]] = {}
    dead = []
    traceparents = []
    superseded = 0
    for raw in raw_events:
        try:
            event = decode(raw, region)
        except PoisonedEvent as error:
            dead.append(DeadLetter(raw, str(error)))
            continue
        if event.traceparent:
            traceparents.append(event.traceparent)
        kept = newest.get(event.user_id)
        if kept is not None:
            superseded += 1
            if kept[0].timestamp >= event.timestamp:
                continue
        newest[event.user_id] = (event, raw)
    ordered = [newest[user_id] for user_id in sorted(newest)]
    return Batch(
        events=[event for event, _ in ordered],
        dead=dead,
        superseded=superseded,
        raw_of={event.user_id: raw for event, raw in ordered},
        traceparents=traceparents,
    )


def columns(
    events: Sequence[ScoreEvent],
) -> tuple[list[str], list[str], list[str], list[int], list[int], list[bool]]:
    """The arrays of `upsert_scores`: user_ids, names, regions, scores, µs, protected."""
    return (
        [event.user_id for event in events],
        [event.name for event in events],
        [event.region for event in events],
        [event.score for event in events],
        [event.timestamp for event in events],
        [event.protected for event in events],
    )
