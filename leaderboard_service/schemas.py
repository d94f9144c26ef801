"""The JSON bodies of the API: what comes in, checked strictly, and what goes out, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from leaderboard_core.names import MAX_NAME, MAX_USER_ID, NAME_PATTERN, USER_ID_PATTERN
from leaderboard_core.settings import MAX_EXACT_INTEGER

UserId = Annotated[str, Field(min_length=1, max_length=MAX_USER_ID, pattern=USER_ID_PATTERN, examples=["alice"])]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=NAME_PATTERN, examples=["Alice"])]
Region = Annotated[str, Field(min_length=1, max_length=50, examples=["ASIA"])]
Score = Annotated[int, Field(ge=-MAX_EXACT_INTEGER, le=MAX_EXACT_INTEGER, examples=[100])]
Password = Annotated[str, Field(min_length=8, max_length=1024, examples=["correct horse battery"])]


class Body(BaseModel):
    """A request body: numbers are not read from strings, booleans or fractions; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)


class RegisterBody(Body):
    user_id: UserId
    name: Name
    region: Region
    initialScore: Score = 0  # noqa: N815 - the API's name
    password: Password | None = None


class BoardQuery(BaseModel):
    region: Annotated[str, Field(description="The board; GLOBAL ranks every player of every region.")] = "GLOBAL"


Limit = Annotated[int, Field(ge=1, le=1000)]
Cursor = Annotated[
    str | None,
    Field(
        max_length=1024,
        description="The next_cursor of the page before: reads on after its last row, at any depth. A player whose "
        "score stays is seen once, one who moves meanwhile once, twice or not; ranks are those of each page's moment.",
    ),
]


class TopQuery(BoardQuery):
    limit: Limit = 100
    offset: Annotated[int, Field(ge=0, le=MAX_EXACT_INTEGER)] = 0
    cursor: Cursor = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if {"cursor", "offset"} <= self.model_fields_set:
            raise ValueError("give either cursor or offset")
        return self


class AroundQuery(BoardQuery):
    range: Annotated[int, Field(ge=1, le=100)] = 10


class LoginBody(Body):
    user_id: UserId
    name: Name
    region: Region | None = None
    password: Password | None = None


class CreateBody(Body):
    region: Region
    initialScore: Score = 0  # noqa: N815 - the API's name


class UpdateBody(Body):
    score: Score


class AddBody(Body):
    delta: Score


class SubmitBody(Body):
    user_id: UserId
    region: Region
    score: Score
    name: Name | None = None


class BatchBody(Body):
    scores: Annotated[
        list[dict[str, Any]],
        Field(
            min_length=1,
            max_length=1000,
            description="`{user_id, region, score | delta, name?}`; each is accepted or refused on its own.",
        ),
    ]


class BatchItem(Body):
    """One score of a batch: either `score`, to set it, or `delta`, to add to it."""

    user_id: UserId
    region: Region
    score: Score | None = None
    delta: Score | None = None
    name: Name | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.score is None) == (self.delta is None):
            raise ValueError("give either score or delta")
        return self

    @property
    def amount(self) -> int:
        return self.score if self.score is not None else self.delta or 0


class Card(BaseModel):
    user_id: UserId
    name: Name
    region: Region
    score: Score


class Registered(BaseModel):
    ok: bool
    token: str
    user: Card


class LoggedIn(BaseModel):
    token: str


class Created(BaseModel):
    ok: bool
    created: bool
    card: Card


class ScoreWritten(BaseModel):
    ok: bool
    user_id: UserId
    region: Region
    score: Score
    updated_at: Annotated[int, Field(description="µs since the epoch", examples=[1_700_000_000_000_000])]


class BatchWritten(BaseModel):
    ok: Annotated[bool, Field(description="every score was accepted")]
    accepted: int
    results: Annotated[
        list[dict[str, Any]],
        Field(
            description="In the order of the request: `{ok: true, user_id, region, score, updated_at}`, or "
            "`{ok: false, error, message, …}` as the single submit would answer."
        ),
    ]


Percentile = Annotated[
    float,
    Field(ge=0, le=100, description="share of the other players whose score is not higher; 100 for somebody alone"),
]


class BoardRow(BaseModel):
    rank: int
    user_id: UserId
    name: Name
    region: Region
    score: Score


class TopPage(BaseModel):
    region: Region
    total: Annotated[int, Field(description="players on the whole board")]
    rows: list[BoardRow]
    next_cursor: Annotated[str | None, Field(description="for `cursor`; null when no row follows")]


class RankAnswer(BaseModel):
    found: bool
    region: Annotated[Region, Field(description="the board")]
    total: int
    rank: int
    percentile: Percentile
    user_id: UserId
    name: Name
    score: Score


class AroundAnswer(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    found: bool
    region: Annotated[Region, Field(description="the board")]
    total: int
    own: Annotated[BoardRow, Field(alias="self")]
    around: list[BoardRow]


class ErrorEnvelope(BaseModel):
    """Every error; some carry more fields, such as `retry_after` (seconds) or `fields`."""

    model_config = ConfigDict(extra="allow")

    error: Annotated[str, Field(examples=["invalid_payload"])]
    message: str


class Health(BaseModel):
    model_config = ConfigDict(extra="allow")

    ok: bool


class QueueStatus(BaseModel):
    region: Region
    waiting: Annotated[int, Field(description="events in the queue")]
    processing: Annotated[int, Field(description="events that a worker has taken and Postgres has not committed")]
    dead: Annotated[int, Field(description="events that Postgres refused")]
    lag_seconds: Annotated[float, Field(ge=0, description="age of the oldest event not committed yet; 0 when none")]


class WorkerStatus(BaseModel):
    name: str
    last_seen_seconds: Annotated[float, Field(ge=0, description="since its last sign of life; they come every second")]


class RedisStatus(BaseModel):
    regions: Annotated[list[Region], Field(description="the regions whose players it holds")]
    ok: Annotated[bool, Field(description="answers, and holds its data")]


class PostgresStatus(BaseModel):
    region: Region
    ok: bool


class Status(BaseModel):
    ok: Annotated[bool, Field(description="every store answers, and a worker is alive")]
    reads: Annotated[str, Field(pattern="^(redis|postgres)$", description="where boards are read from now")]
    queues: Annotated[list[QueueStatus], Field(description="of a region whose Redis does not answer there is none")]
    workers: Annotated[list[WorkerStatus], Field(description="seen in the last minute, latest first")]
    redis: list[RedisStatus]
    postgres: list[PostgresStatus]
