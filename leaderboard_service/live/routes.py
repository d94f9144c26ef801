"""Serves live boards as Server-Sent Events: a snapshot, and then what changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from leaderboard_core import calls
from leaderboard_core.errors import BoardNotFound, NoEntry, UserNotFound
from leaderboard_core.http.responses import EventStream
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_service.boards.dependencies import KnownPlaces
from leaderboard_service.live.dependencies import LastEventId, LiveHub
from leaderboard_service.live.polling import RankKey, TopKey
from leaderboard_service.live.schemas import RankEvent, StreamRankQuery, StreamTopQuery, TopEvent
from leaderboard_service.openapi import STREAM_ERRORS, refused_with
from leaderboard_service.schemas import UserId

router = APIRouter(tags=["live"], route_class=CompiledRoute, default_response_class=EventStream)


@router.get(
    calls.STREAM_TOP.path,
    response_description="Server-Sent Events; the schema is that of their `data`.",
    response_model=TopEvent,
    responses=refused_with(BoardNotFound, *STREAM_ERRORS),
)
async def stream_top(
    query: Annotated[StreamTopQuery, Query()], hub: LiveHub, places: KnownPlaces, last_event_id: LastEventId = ""
) -> EventStream:
    """The best players of a board, live.

    Server-Sent Events: first `event: snapshot`, then `event: change` with the rows that are new or differ: drop the
    rows of `removed`, replace rows by `user_id`, sort by `position`. At most one event per STREAM_INTERVAL_MS; a
    comment when nothing was sent for STREAM_HEARTBEAT_SECONDS. `event: unavailable` (once) says that the board cannot
    be read now; the stream goes on by itself. `event: gone` says that the board was deleted, and ends the stream.

    Each state has an `id`, the same on every replica. A client that comes back with it (`Last-Event-ID`)
    gets nothing while nothing changed, one `change` when the replica remembers that state, else a `snapshot`.
    """
    # A browser that comes back sends the header, with the address of its first call.
    place, key = await places.now(query.board, query.region), TopKey(query.limit, query.metadata)
    listener = hub.top(place, key, last_event_id or query.last_event_id)
    return EventStream(listener, hub.write_timeout)


@router.get(
    calls.STREAM_RANK.path,
    response_description="Server-Sent Events; the schema is that of their `data`.",
    response_model=RankEvent,
    responses=refused_with(UserNotFound, NoEntry, BoardNotFound, *STREAM_ERRORS),
)
async def stream_rank(
    user_id: UserId,
    query: Annotated[StreamRankQuery, Query()],
    hub: LiveHub,
    places: KnownPlaces,
    last_event_id: LastEventId = "",
) -> EventStream:
    """A player's rank and neighbours, live.

    Server-Sent Events: first `event: snapshot`, then `event: change`, each with everything. `event: gone` says that the
    player was deleted or taken off the board, or that the board was deleted, and ends the stream. Ids, heartbeats and
    `event: unavailable` are as in `/stream/top`.
    """
    place = await places.now(query.board, query.region)
    key = RankKey(user_id, query.range, query.metadata)
    listener = await hub.rank(place, key, last_event_id or query.last_event_id)
    return EventStream(listener, hub.write_timeout)
