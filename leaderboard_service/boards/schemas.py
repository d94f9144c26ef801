"""Defines the JSON of board reads: pages and ranges, ranks, and the rows around a player."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.schemas import (
    Board,
    BoardName,
    BoardPosition,
    Body,
    Metadata,
    Name,
    Percentile,
    Rank,
    Region,
    Score,
    ScoreText,
    Total,
    UserId,
    whole,
)

RankBound = Annotated[int, Field(ge=1, le=MAX_EXACT_INTEGER), whole]


class BoardQuery(BaseModel):
    model_config = ConfigDict(frozen=True)

    board: BoardName = "main"
    region: Annotated[
        str,
        Field(
            description="Whose ranking, in any case; GLOBAL ranks every player of every region, and is the only one "
            "of a board without `regions`.",
            examples=["EU"],
        ),
    ] = "GLOBAL"


class RowsQuery(BoardQuery):
    metadata: Annotated[
        bool, Field(description="Whether rows have `metadata`, on boards whose definition has `metadata_bytes`.")
    ] = False


Limit = Annotated[int, Field(ge=1, le=1000, description="Most rows in one answer."), whole]

Cursor = Annotated[
    str | None,
    Field(
        max_length=1024,
        description="The `next_cursor` of the page before, with the same board and region: reads on behind it.",
    ),
]


class TopQuery(RowsQuery):
    limit: Limit = 100
    offset: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_EXACT_INTEGER,
            description="Rows to leave out, at any depth; not together with `cursor`.",
        ),
        whole,
    ] = 0
    cursor: Cursor = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if {"cursor", "offset"} <= self.model_fields_set:
            raise ValueError("give either cursor or offset")
        return self


class AroundQuery(RowsQuery):
    range: Annotated[int, Field(ge=1, le=100, description="Most rows above the player, and most below."), whole] = 10


class RangeQuery(RowsQuery):
    """Either scores or ranks; one of two bounds may be left out."""

    min: Annotated[Score | None, Field(description="Lowest score.")] = None
    max: Annotated[Score | None, Field(description="Highest score.")] = None
    first: Annotated[RankBound | None, Field(alias="from", description="Best rank, instead of scores.")] = None
    last: Annotated[RankBound | None, Field(alias="to", description="Worst rank, instead of scores.")] = None
    limit: Limit = 100
    cursor: Cursor = None

    @model_validator(mode="after")
    def _one_kind_of_bounds(self) -> Self:
        by_score, by_rank = (self.min, self.max) != (None, None), (self.first, self.last) != (None, None)
        if by_score == by_rank:
            raise ValueError("give min or max or both, or from or to or both")
        for low, high, names in ((self.min, self.max, "min is above max"), (self.first, self.last, "from is above to")):
            if low is not None and high is not None and low > high:
                raise ValueError(names)
        return self


class BoardRow(BaseModel):
    rank: Rank
    position: BoardPosition
    user_id: UserId
    name: Name
    region: Region
    score: Score
    score_text: ScoreText | SkipJsonSchema[None] = None
    metadata: Metadata = None


class RegionList(BaseModel):
    regions: Annotated[list[Region], Field(description="Where a player may be at home; each has a board.")]


class TopPage(BaseModel):
    board: BoardName
    region: Board
    total: Total
    rows: Annotated[list[BoardRow], Field(description="Best first; equal scores by descending bytes of `user_id`.")]
    next_cursor: Annotated[str | None, Field(description="For `cursor`; null when no row follows.")]


class RankAnswer(BaseModel):
    found: Annotated[bool, Field(description="True; a 404 has false.")]
    board: BoardName
    region: Board
    total: Total
    rank: Rank
    position: BoardPosition
    percentile: Percentile
    user_id: UserId
    name: Name
    score: Score
    score_text: ScoreText | SkipJsonSchema[None] = None
    metadata: Metadata = None


class AroundAnswer(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    found: Annotated[bool, Field(description="True; a 404 has false.")]
    board: BoardName
    region: Board
    total: Total
    own: Annotated[BoardRow, Field(alias="self", description="The player's own row.")]
    around: Annotated[list[BoardRow], Field(description="The rows above and below, in board order, without `self`.")]


class RanksBody(Body):
    user_ids: Annotated[
        list[UserId],
        Field(
            min_length=1, max_length=1000, description="Players, such as somebody's friends; repeated ones count once."
        ),
    ]
    board: BoardName = "main"
    region: Annotated[Region, Field(description="Whose ranking, in any case.")] = "GLOBAL"
    metadata: Annotated[
        bool, Field(description="Whether rows have `metadata`, on boards whose definition has `metadata_bytes`.")
    ] = False


class ListedRow(BoardRow):
    place: Annotated[int, Field(description="Rank among the players of the list.")]
    percentile: Percentile


class RanksAnswer(BaseModel):
    board: BoardName
    region: Board
    total: Total
    rows: Annotated[list[ListedRow], Field(description="Those of the list who are on the board, in board order.")]
    unknown: Annotated[list[UserId], Field(description="Those who are not, in the order of the request.")]
