"""Defines the JSON of definitions: what may be stated of a board, and how it is answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from leaderboard_core.boards import Rules
from leaderboard_core.events import MAX_SUBMITS
from leaderboard_core.names import NAME_PATTERN
from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.schemas import Body, Score, whole

MAX_KEPT_WINDOWS = 1_000_000
BOARD_PATTERN = "^[a-z0-9][a-z0-9_-]{0,62}$"

BoardName = Annotated[str, Field(pattern=BOARD_PATTERN, examples=["main"], description="The board's name.")]

Version = Annotated[int, Field(ge=0, description="Counts the changes of the definition; 0 is the one it began with.")]

Everywhere = Annotated[
    bool,
    Field(description="Every Redis goes by this version. False while one cannot be asked, or has not been told yet."),
]

_Step = Annotated[int, Field(ge=0, le=MAX_EXACT_INTEGER), whole]


class BoardRules(BaseModel):
    """The rules of a board."""

    title: Annotated[
        str, Field(max_length=200, pattern=f"^$|{NAME_PATTERN}", description="What people call the board.")
    ] = ""
    operator: Annotated[
        Literal["latest", "best", "sum"],
        Field(description="What a submit does: sets the score, counts if it is better, or adds to it. Never changes."),
    ] = "latest"
    order: Annotated[
        Literal["desc", "asc"], Field(description="Which score is first: the highest or the lowest. Never changes.")
    ] = "desc"
    ties: Annotated[
        Literal["shared", "earliest"],
        Field(description="Whether equal scores share a rank, or who was there first is. Never changes."),
    ] = "shared"
    windows: Annotated[
        tuple[str, ...],
        Field(strict=False, max_length=8, description="In which times scores count: `all`, which never ends."),
    ] = ("all",)
    regions: Annotated[
        bool, Field(description="Whether each region has a ranking of its own beside GLOBAL. Never changes.")
    ] = True
    min_score: Annotated[Score, Field(description="The lowest score to take.")] = -MAX_EXACT_INTEGER
    max_score: Annotated[Score, Field(description="The highest score to take.")] = MAX_EXACT_INTEGER
    max_step: Annotated[_Step | None, Field(description="The largest size of one add; null for any.")] = None
    max_submits: Annotated[
        int, Field(ge=0, le=MAX_SUBMITS, description="How many submits of a player count; 0 for any."), whole
    ] = 0
    submit: Annotated[
        Literal["player", "server"], Field(description="Whose tokens send scores; `server` leaves players out.")
    ] = "player"
    metadata_bytes: Annotated[
        int, Field(ge=0, le=2048, description="The largest JSON object beside a score; 0 for none. May grow."), whole
    ] = 0
    decimals: Annotated[
        int, Field(ge=0, le=6, description="How many of a score's digits are to be shown behind a point."), whole
    ] = 0
    keep_windows: Annotated[
        int, Field(ge=0, le=MAX_KEPT_WINDOWS, description="How many closed windows of each name are kept."), whole
    ] = 400
    open: Annotated[bool, Field(description="Whether scores are taken; deletions and new players are in any case.")] = (
        True
    )


class DefinitionBody(Body, BoardRules):
    """The rules of a board, all of them: what is left out is as it was at the beginning."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"title": "Season 3", "min_score": 0, "max_step": 500}]}
    )

    def rules(self) -> Rules:
        return Rules(**self.model_dump())


class BoardsQuery(BaseModel):
    model_config = ConfigDict(frozen=True)

    cursor: Annotated[
        BoardName | None, Field(description="The `next_cursor` of the page before: reads on behind it.")
    ] = None


class BoardDefined(BaseModel):
    ok: bool
    board: BoardName
    version: Version
    definition: Annotated[BoardRules, Field(description="All of its rules, as they are heeded.")]


class DefinedBoard(BaseModel):
    board: BoardName
    version: Version
    everywhere: Everywhere
    definition: Annotated[BoardRules, Field(description="All of its rules; a variable that is set wins over them.")]


class BoardPage(BaseModel):
    boards: Annotated[list[DefinedBoard], Field(description="By name.")]
    next_cursor: Annotated[str | None, Field(description="For `cursor`; null when no board follows.")]


class BoardInFull(DefinedBoard):
    entries: Annotated[dict[str, int], Field(description="Players in the rankings of each region, and of GLOBAL.")]


class BoardRemoved(BaseModel):
    ok: bool
    board: BoardName
