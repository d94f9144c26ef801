"""Live boards as Server-Sent Events: what a client sees first, and then what changes."""

from __future__ import annotations

from typing import Annotated

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, RootModel

from leaderboard_core.errors import UserNotFound
from leaderboard_service.asgi import Call, Stream
from leaderboard_service.boards.schemas import BoardQuery, BoardRow, Percentile, Total
from leaderboard_service.live.feed import Listener
from leaderboard_service.openapi import READ_ERRORS, Route
from leaderboard_service.schemas import Board, ErrorEnvelope, UserId

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_LAST_EVENT_ID_HEADER = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that was seen: what changed since is sent, not everything.",
    "schema": {"type": "string"},
}
_LAST_EVENT_ID = "The id of the last event that was seen, when no Last-Event-ID header can be sent."


Source = Annotated[str, Field(description="`redis`, or `postgres` while Redis is away.", examples=["redis"])]


class StreamTopQuery(BoardQuery):
    limit: Annotated[int, Field(ge=1, le=100, description="How many players are shown.")] = 10
    last_event_id: Annotated[str, Field(description=_LAST_EVENT_ID)] = ""


class StreamRankQuery(BoardQuery):
    range: Annotated[int, Field(ge=0, le=10, description="Most rows above the player, and most below.")] = 2
    last_event_id: Annotated[str, Field(description=_LAST_EVENT_ID)] = ""


class PositionedRow(BoardRow):
    position: Annotated[int, Field(description="Place in board order, from 1.")]


class TopSnapshot(BaseModel):
    """`event: snapshot`: everything."""

    region: Board
    total: Total
    source: Source
    rows: Annotated[
        list[PositionedRow], Field(description="Everybody in a snapshot; who is new or differs in a change.")
    ]


class TopChange(TopSnapshot):
    """`event: change`: the rows that are new or differ."""

    removed: Annotated[list[UserId], Field(description="Players who are not among the rows any more.")]


class TopEvent(RootModel[TopSnapshot | TopChange | ErrorEnvelope]):
    """The `data` of an event: `snapshot`, `change`, or `unavailable` (an error's envelope)."""


class OwnRow(BoardRow):
    percentile: Percentile


class StandingData(BaseModel):
    """`event: snapshot` and `event: change`: everything."""

    region: Board
    total: Total
    source: Source
    own: Annotated[OwnRow, Field(alias="self", description="The player's own row.")]
    around: Annotated[list[BoardRow], Field(description="The rows above and below, in board order, without `self`.")]


class Gone(BaseModel):
    """`event: gone`: the player was deleted; the stream ends."""

    region: Board
    user_id: UserId


class RankEvent(RootModel[StandingData | Gone | ErrorEnvelope]):
    """The `data` of an event: `snapshot`, `change`, `gone`, or `unavailable` (an error's envelope)."""


class EventStream(JSONResponse):
    """Names the media type in the API's description; the schema beside it is that of each event's data."""

    media_type = "text/event-stream"


async def stream_top(call: Call) -> Stream:
    """The best players of a board, live.

    Server-Sent Events: first `event: snapshot`, then `event: change` with the rows that are new or differ: drop the
    rows of `removed`, replace rows by `user_id`, sort by `position`. At most one event per STREAM_INTERVAL_MS; a
    comment when nothing was sent for STREAM_HEARTBEAT_SECONDS. `event: unavailable` (once) says that the board cannot
    be read now; the stream goes on by itself.

    Each state has an `id`, the same on every replica. A client that comes back with it (`Last-Event-ID`)
    gets nothing while nothing changed, one `change` when the replica remembers that state, else a `snapshot`.
    """
    query = call.query(StreamTopQuery)
    region = call.parts.region(query.region)
    return _stream(call, call.parts.live.top(region, query.limit, _last_event_id(call, query.last_event_id)))


async def stream_rank(call: Call) -> Stream:
    """A player's rank and neighbours, live.

    Server-Sent Events: first `event: snapshot`, then `event: change`, each with everything. `event: gone` says that
    the player was deleted, and ends the stream. Ids, heartbeats and `event: unavailable` are as in `/stream/top`.
    """
    user_id, query = call.user_id(), call.query(StreamRankQuery)
    region = call.parts.region(query.region)
    last_event_id = _last_event_id(call, query.last_event_id)
    return _stream(call, await call.parts.live.rank(region, user_id, query.range, last_event_id))


def _last_event_id(call: Call, query: str) -> str:
    # A browser that comes back sends the header, with the address of its first call.
    return call.header(b"last-event-id") or query


def _stream(call: Call, listener: Listener) -> Stream:
    return Stream(listener, call.parts.live.patience_seconds, _HEADERS)


ROUTES = (
    Route(
        "GET",
        "/stream/top",
        stream_top,
        tag="live",
        response=TopEvent,
        query=StreamTopQuery,
        errors=READ_ERRORS,
        response_class=EventStream,
        headers=(_LAST_EVENT_ID_HEADER,),
    ),
    Route(
        "GET",
        "/stream/rank/{user_id}",
        stream_rank,
        tag="live",
        response=RankEvent,
        query=StreamRankQuery,
        errors=(UserNotFound, *READ_ERRORS),
        response_class=EventStream,
        headers=(_LAST_EVENT_ID_HEADER,),
    ),
)
