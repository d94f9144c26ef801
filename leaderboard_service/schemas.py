"""Defines the fields that the JSON of several features shares, and the envelope of errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from leaderboard_core.names import (
    MAX_NAME,
    MAX_USER_ID,
    NAME_PATTERN,
    USER_ID_PATTERN,
    why_no_new_name,
    why_no_new_user_id,
)
from leaderboard_core.settings import MAX_EXACT_INTEGER


def _fit_for_new(why_not: Callable[[str], str | None]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if (problem := why_not(text)) is not None:
            raise PydanticCustomError("not_for_new", problem)
        return text

    return check


UserId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_USER_ID,
        pattern=USER_ID_PATTERN,
        examples=["alice"],
        description="The player's id.",
    ),
]

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME,
        pattern=NAME_PATTERN,
        examples=["Alice"],
        description="The name that boards show.",
    ),
]

NewUserId = Annotated[
    UserId,
    Field(
        description="The new player's id, case-sensitive: not `.` or `..`, in Unicode's form NFC, with something to "
        "see, and every direction of writing that it begins ended."
    ),
    AfterValidator(_fit_for_new(why_no_new_user_id)),
]

NewName = Annotated[
    Name,
    Field(
        description="The name that boards show: one line with something to see, and every direction of writing that it "
        "begins ended."
    ),
    AfterValidator(_fit_for_new(why_no_new_name)),
]

Region = Annotated[str, Field(min_length=1, max_length=50, examples=["EU"], description="The player's home region.")]

Board = Annotated[str, Field(examples=["EU"], description="Whose ranking it is: a region's, or GLOBAL.")]

BoardName = Annotated[
    str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,62}$", examples=["main"], description="The board's name.")
]

_DIGITS = re.compile("-?[0-9]+")


def _whole(value: object) -> object:
    """Take `250.0` and `2.5e2` in JSON for what they are, and in a query only digits.

    Many JSON writers have no integers and spell every number with a fraction. `int()` reads `+5`, `5.0` and `1_000`.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise PydanticCustomError("int_parsing", "Input should be a whole number, in digits")
    return value


whole = BeforeValidator(_whole)
"""Stands behind the bounds: in front of them it would hide them from OpenAPI."""

Score = Annotated[
    int, Field(ge=-MAX_EXACT_INTEGER, le=MAX_EXACT_INTEGER, examples=[100], description="The score."), whole
]

Micros = Annotated[int, Field(description="Microseconds since the epoch.", examples=[1_767_225_600_000_000])]

ScoreText = Annotated[
    str,
    Field(
        examples=["1.00"],
        description="The score as it is to be shown; only on boards whose definition has `decimals`.",
    ),
]

Metadata = Annotated[
    dict[str, Any] | None,
    Field(
        description="What was sent with the score, null for nothing; only where it was asked for, on boards whose "
        "definition has `metadata_bytes`."
    ),
]

InitialScore = Annotated[Score, Field(description="The score to begin with.")]

Total = Annotated[int, Field(description="Players on the whole board.")]

Rank = Annotated[int, Field(ge=1, description="1 + the number of players with a strictly higher score.", examples=[1])]

BoardPosition = Annotated[
    int,
    Field(
        ge=1,
        description="The number of the row in board order: unlike `rank` different for each player.",
        examples=[1],
    ),
]

Percentile = Annotated[
    float,
    Field(
        ge=0,
        le=100,
        description="Share of the other players whose score is not higher, in percent: "
        "`100 * (total - rank) / (total - 1)`; 100 for somebody alone.",
    ),
]


class Body(BaseModel):
    """A request body: numbers are not read from strings or booleans; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)


class Card(BaseModel):
    """A player as the boards have it."""

    user_id: UserId
    name: Name
    region: Region
    score: Score


class ErrorEnvelope(BaseModel):
    """Every error; some carry more fields, such as `retry_after` (seconds) or `fields`."""

    model_config = ConfigDict(extra="allow")

    error: Annotated[str, Field(examples=["invalid_payload"], description="The code, for programs.")]
    message: Annotated[str, Field(description="What to do, for people; the wording may change.")]
