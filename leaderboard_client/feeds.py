"""Maintain the state of live feeds from their events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from leaderboard_client.calls import QueryValue, url_of
from leaderboard_client.picking import pick, rows_of
from leaderboard_client.results import Row
from leaderboard_client.sse import Event
from leaderboard_client.steps import Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A row of a live board; `position` is its 1-based place in board order, the last two fields are as in `Row`."""

    position: int
    rank: int
    user_id: str
    name: str
    region: str
    score: int
    score_text: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LiveTop:
    """The best rows of a board as they stand; `available` is False while the system cannot read the board."""

    region: str
    total: int
    source: str
    rows: tuple[LiveRow, ...]
    available: bool = True


@dataclass(frozen=True, slots=True)
class LivePlace:
    """The followed player's own place, with the fields of a LiveRow."""

    rank: int
    position: int
    percentile: float
    user_id: str
    name: str
    region: str
    score: int
    score_text: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LiveRank:
    """A player and its neighbours as they stand; `available` is False while the system cannot read the board."""

    region: str
    total: int
    source: str
    own: LivePlace
    around: tuple[Row, ...]
    available: bool = True


class Feed(ABC, Generic[T]):
    """Turn events into what the iterator yields. Each stream has its own feed."""

    ended = False

    @abstractmethod
    def apply(self, event: Event) -> T | None:
        """Return what to yield after this event, or None. Raises KeyError, TypeError, ValueError for malformed data."""


class EventFeed(Feed[Event]):
    """Yield the events themselves."""

    def apply(self, event: Event) -> Event:
        self.ended = event.event == "gone"
        return event


StateT = TypeVar("StateT", LiveTop, LiveRank)


class _StateFeed(Feed[StateT]):
    """Yield the state after each event."""

    def __init__(self) -> None:
        self._state: StateT | None = None

    def apply(self, event: Event) -> StateT | None:
        match event.event:
            case "snapshot":
                self._state = self._whole(event.json())
            case "change":
                if self._state is None:
                    raise ValueError("a change came before the first snapshot")
                self._state = self._changed(self._state, event.json())
            case "unavailable" if self._state is not None:
                self._state = replace(self._state, available=False)
            case "gone":
                self.ended = True
                return None
            case _:
                return None
        return self._state

    @abstractmethod
    def _whole(self, data: Mapping[str, Any]) -> StateT: ...

    @abstractmethod
    def _changed(self, state: StateT, data: Mapping[str, Any]) -> StateT: ...


class TopFeed(_StateFeed[LiveTop]):
    """Keep the best rows of a board."""

    def _whole(self, data: Mapping[str, Any]) -> LiveTop:
        return self._made(data, {})

    def _changed(self, state: LiveTop, data: Mapping[str, Any]) -> LiveTop:
        removed = set(data["removed"])
        return self._made(data, {row.user_id: row for row in state.rows if row.user_id not in removed})

    @staticmethod
    def _made(data: Mapping[str, Any], kept: dict[str, LiveRow]) -> LiveTop:
        rows = kept | {row.user_id: row for row in rows_of(data, LiveRow)}
        in_order = sorted(rows.values(), key=lambda row: row.position)
        return LiveTop(data["region"], data["total"], data["source"], tuple(in_order))


class RankFeed(_StateFeed[LiveRank]):
    """Keep a player's rank and neighbours; every event is complete."""

    def _whole(self, data: Mapping[str, Any]) -> LiveRank:
        around = rows_of(data, Row, "around")
        return LiveRank(data["region"], data["total"], data["source"], pick(LivePlace, data["self"]), around)

    def _changed(self, state: LiveRank, data: Mapping[str, Any]) -> LiveRank:  # noqa: ARG002 - nothing is kept
        return self._whole(data)


@dataclass(frozen=True, slots=True)
class Stream(Generic[T]):
    """A live feed to follow: its address, and the feed that interprets its events.

    `max_outage` is the longest time without a connection in seconds; None for no limit once it was connected.
    """

    path: str
    feed: Feed[T]
    query: Mapping[str, QueryValue] = field(default_factory=dict)
    last_event_id: str = ""
    max_outage: float | None = None

    def request(self, base_url: str, request_id: str, last_event_id: str) -> Request:
        """Build the request that opens it, or resumes it after an event."""
        headers = {
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "cache-control": "no-store",
            "x-request-id": request_id,
        }
        if last_event_id:
            headers["last-event-id"] = last_event_id
        return Request("GET", url_of(base_url, self.path, self.query), headers)
