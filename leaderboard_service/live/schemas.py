"""Defines the queries of live streams, and the data of their events."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, RootModel

from leaderboard_service.boards.schemas import BoardRow, RowsQuery
from leaderboard_service.schemas import Board, BoardName, ErrorEnvelope, Percentile, Total, UserId, whole

_LAST_EVENT_ID = (
    "The id of the last event that was seen: what changed since is sent, not everything. The header `Last-Event-ID`, "
    "which browsers send by themselves, means the same and goes first."
)

Source = Annotated[str, Field(description="`redis`, or `postgres` while Redis is away.", examples=["redis"])]


class StreamTopQuery(RowsQuery):
    limit: Annotated[int, Field(ge=1, le=100, description="How many players are shown."), whole] = 10
    last_event_id: Annotated[str, Field(description=_LAST_EVENT_ID)] = ""


class StreamRankQuery(RowsQuery):
    range: Annotated[int, Field(ge=0, le=10, description="Most rows above the player, and most below."), whole] = 2
    last_event_id: Annotated[str, Field(description=_LAST_EVENT_ID)] = ""


class TopSnapshot(BaseModel):
    """`event: snapshot`: everything."""

    board: BoardName
    region: Board
    total: Total
    source: Source
    rows: Annotated[list[BoardRow], Field(description="Everybody in a snapshot; who is new or differs in a change.")]


class TopChange(TopSnapshot):
    """`event: change`: the rows that are new or differ."""

    removed: Annotated[list[UserId], Field(description="Players who are not among the rows any more.")]


class BoardGone(BaseModel):
    """`event: gone`: the board was deleted; the stream ends."""

    board: BoardName
    region: Board


class TopEvent(RootModel[TopSnapshot | TopChange | BoardGone | ErrorEnvelope]):
    """The `data` of an event: `snapshot`, `change`, `gone`, or `unavailable` (an error's envelope)."""


class OwnRow(BoardRow):
    percentile: Percentile


class StandingData(BaseModel):
    """`event: snapshot` and `event: change`: everything."""

    board: BoardName
    region: Board
    total: Total
    source: Source
    own: Annotated[OwnRow, Field(alias="self", description="The player's own row.")]
    around: Annotated[list[BoardRow], Field(description="The rows above and below, in board order, without `self`.")]


class Gone(BaseModel):
    """`event: gone`: the player was deleted, or taken off the board, or the board was; the stream ends."""

    board: BoardName
    region: Board
    user_id: UserId


class RankEvent(RootModel[StandingData | Gone | ErrorEnvelope]):
    """The `data` of an event: `snapshot`, `change`, `gone`, or `unavailable` (an error's envelope)."""
