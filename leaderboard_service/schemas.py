"""The JSON bodies of the API: what comes in, checked strictly, and what goes out, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from leaderboard_core.settings import MAX_EXACT_INTEGER

USER_ID_PATTERN = r"^[^\s\p{Cc}/]+$"
NAME_PATTERN = r"^[^\p{Cc}]+$"

UserId = Annotated[str, Field(min_length=1, max_length=128, pattern=USER_ID_PATTERN, examples=["alice"])]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NAME_PATTERN, examples=["Alice"])]
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


class BoardRow(BaseModel):
    rank: int
    user_id: UserId
    name: Name
    region: Region
    score: Score


class TopPage(BaseModel):
    region: Region
    total: int
    rows: list[BoardRow]


class RankAnswer(BaseModel):
    found: bool
    region: Annotated[Region, Field(description="the board")]
    total: int
    rank: int
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


def request_body(model: type[Body]) -> dict[str, Any]:
    """The OpenAPI description of a body that the route parses itself."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
