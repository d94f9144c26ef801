"""The score event that travels from Redis to Postgres, and what makes one impossible to store."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import orjson

from leaderboard_core.entries import BOARD_NAME, WINDOW, Entry, tie_of
from leaderboard_core.settings import MAX_EXACT_INTEGER

MAX_BIGINT = 2**63 - 1
MAX_NAME_LENGTH = 200
MAX_REGION_LENGTH = 50
MAX_TOMBSTONE_SECONDS = 10**9
MAX_SUBMITS = 2**31 - 1
MAX_TIMESTAMP = 9_000_000_000_000_000
"""µs since the epoch; the year 2255, inside what a double and a Postgres TIMESTAMP hold exactly."""


class PoisonedEvent(Exception):
    """An event that Postgres can never take; the text is the reason kept in the dead-letter list."""


@dataclass(frozen=True, slots=True)
class ScoreEvent:
    """A player's state after one write; `timestamp` is µs since the epoch and orders a player's writes.

    `protected` says that the account has a password. `traceparent` names the trace of the write's request, if any.
    `key` is the write's Idempotency-Key, if any: hash of subject and key, fingerprint of the request, '1' when it made
    the player, and the timestamp, with blanks between them. `credential` says who made the player, and after a
    blank the hash of its secret, if it has one. `submits` and `metadata` (JSON, "" for none) are those of the score.
    `entries` are those that the write changed. `score` is None when `main` was not among them: such an event says
    nothing else of the player.
    """

    user_id: str
    name: str
    region: str
    score: int | None
    timestamp: int
    request_id: str
    protected: bool = False
    traceparent: str = ""
    key: str = ""
    credential: str = ""
    submits: int = 0
    metadata: str = ""
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Deletion:
    """A player's end; `timestamp` is µs since the epoch and orders it among the player's writes.

    Tokens issued before it have expired `tombstone_seconds` later at the latest. `written_at` is when it was done,
    where a worker has given it back with a later time, else 0.
    """

    user_id: str
    region: str
    timestamp: int
    request_id: str
    tombstone_seconds: int
    written_at: int = 0

    @property
    def tokens_until(self) -> int:
        """µs since the epoch."""
        return self.timestamp + self.tombstone_seconds * 1_000_000


def decode(raw: str | bytes, region: str) -> ScoreEvent | Deletion:
    """Parse and check an event taken from `region`'s queue. Raises PoisonedEvent with the reason."""
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise PoisonedEvent(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise PoisonedEvent("not a JSON object")
    try:
        if fields.get("deleted") is True:
            return _deletion(fields, region)
        event = ScoreEvent(
            fields["user_id"],
            fields["name"],
            fields["region"],
            fields["score"] if "entries" not in fields else fields.get("score"),
            fields["timestamp"],
            fields.get("request_id", ""),
            fields.get("protected", False) is True,
            str(fields.get("traceparent", "")),
            str(fields.get("key", "")),
            str(fields.get("credential", "")),
            _whole(fields, "submits", 0, MAX_SUBMITS, 0, of=""),
            _metadata(fields),
        )
    except KeyError as error:
        raise PoisonedEvent(f"no {error.args[0]}") from error
    _check(event, region, has_score="score" in fields)
    return replace(event, entries=_entries(fields["entries"], event)) if "entries" in fields else event


def timestamp_of(raw: str | bytes) -> int | None:
    """An event's time in µs since the epoch, None when it cannot be read."""
    found = _field_of(raw, "timestamp")
    return found if type(found) is int and 0 <= found <= MAX_TIMESTAMP else None


def user_id_of(raw: str | bytes) -> str:
    """An event's player, '' when it cannot be read."""
    found = _field_of(raw, "user_id")
    return found if isinstance(found, str) else ""


def _field_of(raw: str | bytes, name: str) -> Any:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return fields.get(name) if isinstance(fields, dict) else None


def _deletion(fields: dict[str, Any], region: str) -> Deletion:
    event = Deletion(
        fields["user_id"],
        fields["region"],
        fields["timestamp"],
        fields.get("request_id", ""),
        fields["keep"],
        fields.get("written", 0),
    )
    _check_text("user_id", event.user_id)
    _check_place(event, region)
    if type(event.tombstone_seconds) is not int or not 0 <= event.tombstone_seconds <= MAX_TOMBSTONE_SECONDS:
        raise PoisonedEvent("keep is not in seconds")
    if type(event.written_at) is not int or not 0 <= event.written_at <= event.timestamp:
        raise PoisonedEvent("written is not in µs since the epoch")
    return event


def _check(event: ScoreEvent, region: str, *, has_score: bool) -> None:
    _check_text("user_id", event.user_id)
    _check_text("name", event.name)
    if len(event.name) > MAX_NAME_LENGTH:
        raise PoisonedEvent(f"name is longer than {MAX_NAME_LENGTH} characters")
    _check_place(event, region)
    for field in ("key", "credential"):
        if "\0" in getattr(event, field):
            raise PoisonedEvent(f"{field} has a NUL character, which Postgres cannot store")
    if has_score and (type(event.score) is not int or not -MAX_BIGINT - 1 <= event.score <= MAX_BIGINT):
        raise PoisonedEvent("score is not a whole number that fits a BIGINT")


def _entries(found: object, event: ScoreEvent) -> tuple[Entry, ...]:
    if not isinstance(found, list) or not found:
        raise PoisonedEvent("entries is not a list of entries")
    return tuple(_entry(one, event) for one in found)


def _entry(fields: object, event: ScoreEvent) -> Entry:
    """Read and check an entry of an event, which is of the event's time. Raises PoisonedEvent."""
    if not isinstance(fields, dict):
        raise PoisonedEvent("an entry is not a JSON object")
    removed = _flag(fields, "removed")
    key = 0 if removed else _whole(fields, "key", -MAX_EXACT_INTEGER, MAX_EXACT_INTEGER)
    member = "" if removed else fields.get("member")
    if not isinstance(member, str) or not (removed or tie_of(member, event.user_id) is not None):
        raise PoisonedEvent("member of an entry is not the player's")
    return Entry(
        user_id=event.user_id,
        board_id=_whole(fields, "board_id", 0, MAX_BIGINT),
        board=_name(fields, "board", BOARD_NAME),
        window=_name(fields, "window", WINDOW),
        key=key,
        member=member,
        clock=event.timestamp,
        submits=_whole(fields, "submits", 0, MAX_SUBMITS, 0),
        base_at=_whole(fields, "base_at", 0, event.timestamp, 0),
        best=_flag(fields, "best"),
        removed=removed,
        metadata="" if removed else _metadata(fields),
        last_key=" ".join(event.key.split(" ")[:2]),
    )


def _metadata(fields: dict[str, Any]) -> str:
    if "metadata" not in fields:
        return ""
    if not isinstance(fields["metadata"], dict):
        raise PoisonedEvent("metadata is not a JSON object")
    try:
        return orjson.dumps(fields["metadata"]).decode()
    except orjson.JSONEncodeError as error:
        raise PoisonedEvent(f"metadata: {error}") from error


def _whole(
    fields: dict[str, Any],
    field: str,
    lowest: int,
    highest: int,
    absent: int | None = None,
    *,
    of: str = " of an entry",
) -> int:
    found = fields.get(field, absent)
    if type(found) is not int or not lowest <= found <= highest:
        raise PoisonedEvent(f"{field}{of} is not a whole number from {lowest} to {highest}")
    return found


def _flag(fields: dict[str, Any], field: str) -> bool:
    found = fields.get(field, False)
    if type(found) is not bool:
        raise PoisonedEvent(f"{field} of an entry is neither true nor false")
    return found


def _name(fields: dict[str, Any], field: str, pattern: re.Pattern[str]) -> str:
    found = fields.get(field)
    if not isinstance(found, str) or not pattern.fullmatch(found):
        raise PoisonedEvent(f"{field} of an entry is not the name of one")
    return found


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise PoisonedEvent(f"{field} is not a text")
    if "\0" in value:
        raise PoisonedEvent(f"{field} has a NUL character, which Postgres cannot store")


def _check_place(event: ScoreEvent | Deletion, region: str) -> None:
    _check_text("region", event.region)
    if len(event.region) > MAX_REGION_LENGTH or event.region != region:
        raise PoisonedEvent(f"region is {event.region[:MAX_REGION_LENGTH]!r} in the queue of {region}")
    if type(event.timestamp) is not int or not 0 <= event.timestamp <= MAX_TIMESTAMP:
        raise PoisonedEvent("timestamp is not in µs since the epoch")
