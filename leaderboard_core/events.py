"""The score event that travels from Redis to Postgres, and what makes one impossible to store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

MAX_BIGINT = 2**63 - 1
MAX_NAME_LENGTH = 200
MAX_REGION_LENGTH = 50
MAX_TOMBSTONE_SECONDS = 10**9
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
    blank the hash of its secret, if it has one.
    """

    user_id: str
    name: str
    region: str
    score: int
    timestamp: int
    request_id: str
    protected: bool = False
    traceparent: str = ""
    key: str = ""
    credential: str = ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A player's end; `timestamp` is µs since the epoch and orders it among the player's writes.

    Tokens issued before it have expired `tombstone_seconds` later at the latest.
    """

    user_id: str
    region: str
    timestamp: int
    request_id: str
    tombstone_seconds: int

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
            fields["score"],
            fields["timestamp"],
            fields.get("request_id", ""),
            fields.get("protected", False) is True,
            str(fields.get("traceparent", "")),
            str(fields.get("key", "")),
            str(fields.get("credential", "")),
        )
    except KeyError as error:
        raise PoisonedEvent(f"no {error.args[0]}") from error
    _check(event, region)
    return event


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
        fields["user_id"], fields["region"], fields["timestamp"], fields.get("request_id", ""), fields["keep"]
    )
    _check_text("user_id", event.user_id)
    _check_place(event, region)
    if type(event.tombstone_seconds) is not int or not 0 <= event.tombstone_seconds <= MAX_TOMBSTONE_SECONDS:
        raise PoisonedEvent("keep is not in seconds")
    return event


def _check(event: ScoreEvent, region: str) -> None:
    _check_text("user_id", event.user_id)
    _check_text("name", event.name)
    if len(event.name) > MAX_NAME_LENGTH:
        raise PoisonedEvent(f"name is longer than {MAX_NAME_LENGTH} characters")
    _check_place(event, region)
    for field in ("key", "credential"):
        if "\0" in getattr(event, field):
            raise PoisonedEvent(f"{field} has a NUL character, which Postgres cannot store")
    if type(event.score) is not int or not -MAX_BIGINT - 1 <= event.score <= MAX_BIGINT:
        raise PoisonedEvent("score is not a whole number that fits a BIGINT")


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
