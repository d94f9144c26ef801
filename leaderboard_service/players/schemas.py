"""Defines the JSON of a player's export and deletion."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from leaderboard_service.schemas import (
    BoardName,
    BoardPosition,
    Metadata,
    Micros,
    Name,
    Percentile,
    Rank,
    Region,
    Score,
    ScoreText,
    Total,
    UserId,
)

Submits = Annotated[
    int, Field(ge=0, description="Scores taken while the board limited them (`max_submits`), corrections apart.")
]


class ExportedUser(BaseModel):
    user_id: UserId
    name: Name
    region: Region
    score: Score
    updated_at: Micros
    protected: Annotated[bool, Field(description="Whether the player has a password.")]
    has_secret: Annotated[bool, Field(description="Whether the player has a secret to log in with.")]
    submits: Submits
    metadata: Annotated[dict[str, Any] | None, Field(description="What came with the score on the main board.")]


class ExportedRank(BaseModel):
    rank: Rank
    total: Total
    percentile: Percentile


class EntriesQuery(BaseModel):
    model_config = ConfigDict(frozen=True)

    cursor: Annotated[
        BoardName | None, Field(description="The `next_cursor` of the page before: reads on behind it.")
    ] = None


class StandingOnBoard(ExportedRank):
    position: BoardPosition


class EntryOnBoard(BaseModel):
    board: BoardName
    score: Score
    score_text: ScoreText | SkipJsonSchema[None] = None
    metadata: Metadata = None
    updated_at: Micros
    submits: Submits
    ranks: Annotated[
        dict[str, StandingOnBoard],
        Field(description="In the ranking of the home region, if the board has those of regions, and in GLOBAL's."),
    ]


class PlayerOnBoards(BaseModel):
    user_id: UserId
    name: Name
    region: Region
    entries: Annotated[list[EntryOnBoard], Field(description="`main` first, then by the boards' names.")]
    next_cursor: Annotated[str | None, Field(description="For `cursor`; null when no board follows.")]


class ExportedAccount(BaseModel):
    created_at: Micros


class ExportedRow(BaseModel):
    name: Name
    region: Region
    score: Score
    updated_at: Micros


class UserExport(BaseModel):
    user: Annotated[ExportedUser, Field(description="The player as boards show it.")]
    ranks: Annotated[dict[str, ExportedRank], Field(description="By board: the home region's and GLOBAL.")]
    entries: Annotated[list[EntryOnBoard], Field(description="On boards other than `main`, by their names.")]
    account: Annotated[ExportedAccount | None, Field(description="When the password was saved; null without one.")]
    saved: Annotated[ExportedRow | None, Field(description="The row in Postgres; null while it is on its way.")]


class UserDeleted(BaseModel):
    ok: bool
    user_id: UserId
    deleted_at: Micros
