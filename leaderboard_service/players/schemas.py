"""Defines the JSON of a player's export and deletion."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from leaderboard_service.schemas import Micros, Name, Percentile, Rank, Region, Score, Total, UserId


class ExportedUser(BaseModel):
    user_id: UserId
    name: Name
    region: Region
    score: Score
    updated_at: Micros
    protected: Annotated[bool, Field(description="Whether the player has a password.")]
    has_secret: Annotated[bool, Field(description="Whether the player has a secret to log in with.")]


class ExportedRank(BaseModel):
    rank: Rank
    total: Total
    percentile: Percentile


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
    account: Annotated[ExportedAccount | None, Field(description="When the password was saved; null without one.")]
    saved: Annotated[ExportedRow | None, Field(description="The row in Postgres; null while it is on its way.")]


class UserDeleted(BaseModel):
    ok: bool
    user_id: UserId
    deleted_at: Micros
