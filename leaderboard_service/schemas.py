"""The JSON of accounts and score writes: what comes in, checked strictly, and what goes out."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from leaderboard_core.names import MAX_NAME, MAX_USER_ID, NAME_PATTERN, USER_ID_PATTERN
from leaderboard_core.settings import MAX_EXACT_INTEGER

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
Region = Annotated[str, Field(min_length=1, max_length=50, examples=["EU"], description="The player's home region.")]
Board = Annotated[str, Field(examples=["EU"], description="The board.")]
Score = Annotated[int, Field(ge=-MAX_EXACT_INTEGER, le=MAX_EXACT_INTEGER, examples=[100], description="The score.")]
Password = Annotated[str, Field(min_length=8, max_length=1024, examples=["correct horse battery"])]
Token = Annotated[str, Field(description="A JSON Web Token, good for JWT_TTL_SECONDS.")]
Micros = Annotated[int, Field(description="Microseconds since the epoch.", examples=[1_767_225_600_000_000])]
InitialScore = Annotated[Score, Field(description="The score to begin with.")]


class Body(BaseModel):
    """A request body: numbers are not read from strings, booleans or fractions; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)


class RegisterBody(Body):
    user_id: UserId
    name: Name
    region: Region
    initialScore: InitialScore = 0  # noqa: N815 - the API's name
    password: Annotated[
        Password | None, Field(description="Without one, `user_id` and `name` are enough to log in.")
    ] = None


class LoginBody(Body):
    user_id: UserId
    name: Name
    region: Annotated[Region | None, Field(description="When given, a player of another region is refused.")] = None
    password: Annotated[Password | None, Field(description="Needed when the account has one.")] = None


class CreateBody(Body):
    region: Annotated[Region, Field(description="The token's region.")]
    initialScore: InitialScore = 0  # noqa: N815 - the API's name


class UpdateBody(Body):
    score: Annotated[Score, Field(description="The new score.")]


class AddBody(Body):
    delta: Annotated[Score, Field(examples=[50], description="What to add; a negative one takes away.")]


OptionalName = Annotated[
    Name | None, Field(description="The name that boards show; without one the stored name stays, or is the `user_id`.")
]


class SubmitBody(Body):
    user_id: UserId
    region: Region
    score: Annotated[Score, Field(description="The new score.")]
    name: OptionalName = None


class BatchItem(Body):
    """One score of a batch: either `score`, to set it, or `delta`, to add to it."""

    user_id: UserId
    region: Region
    score: Annotated[Score | None, Field(description="The new score.")] = None
    delta: Annotated[Score | None, Field(description="What to add, instead of `score`.")] = None
    name: OptionalName = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.score is None) == (self.delta is None):
            raise ValueError("give either score or delta")
        return self

    @property
    def amount(self) -> int:
        return self.score if self.score is not None else self.delta or 0


class BatchBody(Body):
    scores: Annotated[
        list[dict[str, Any]],
        Field(
            min_length=1,
            max_length=1000,
            description="Each is accepted or refused on its own, and checked as here.",
            json_schema_extra={"items": BatchItem.model_json_schema()},
        ),
    ]


class Card(BaseModel):
    """A player as the boards have it."""

    user_id: UserId
    name: Name
    region: Region
    score: Score


class Registered(BaseModel):
    ok: bool
    token: Token
    user: Annotated[Card, Field(description="The player.")]


class LoggedIn(BaseModel):
    token: Token


class Created(BaseModel):
    ok: bool
    created: Annotated[bool, Field(description="False when the player was there already, and nothing was changed.")]
    card: Annotated[Card, Field(description="The player.")]


class ScoreWritten(BaseModel):
    ok: bool
    user_id: UserId
    region: Region
    score: Annotated[Score, Field(description="The score after the write.")]
    updated_at: Annotated[
        Micros, Field(description="Microseconds since the epoch; each write of a player has a later one.")
    ]


class ErrorEnvelope(BaseModel):
    """Every error; some carry more fields, such as `retry_after` (seconds) or `fields`."""

    model_config = ConfigDict(extra="allow")

    error: Annotated[str, Field(examples=["invalid_payload"], description="The code, for programs.")]
    message: Annotated[str, Field(description="What to do, for people; the wording may change.")]


class BatchRefusal(ErrorEnvelope):
    """One score of a batch that was refused, as the single submit would answer."""

    ok: Annotated[bool, Field(description="False.")]


class BatchWritten(BaseModel):
    ok: Annotated[bool, Field(description="Every score was accepted.")]
    accepted: Annotated[int, Field(description="How many were.")]
    results: Annotated[
        list[ScoreWritten | BatchRefusal],
        Field(description="In the order of the request; a refused one is an error with `ok: false`."),
    ]
