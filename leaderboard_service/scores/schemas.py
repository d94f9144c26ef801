"""Defines the JSON of score writes, whose bodies are validated strictly."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from leaderboard_service.schemas import (
    BoardPosition,
    Body,
    Card,
    ErrorEnvelope,
    InitialScore,
    Micros,
    Name,
    Rank,
    Region,
    Score,
    Total,
    UserId,
)


class CreateBody(Body):
    region: Annotated[Region, Field(description="The token's region.")]
    initialScore: InitialScore = 0  # noqa: N815 - the API's name


WithRanks = Annotated[bool, Field(alias="rank", description="Answer with the player's ranks as well.")]


class UpdateBody(Body):
    score: Annotated[Score, Field(description="The new score.")]
    with_ranks: WithRanks = False


class AddBody(Body):
    delta: Annotated[Score, Field(examples=[50], description="What to add; a negative one takes away.")]
    with_ranks: WithRanks = False


OptionalName = Annotated[
    Name | None, Field(description="The name that boards show; without one the stored name stays, or is the `user_id`.")
]


class SubmitBody(Body):
    user_id: UserId
    region: Region
    score: Annotated[Score, Field(description="The new score.")]
    name: OptionalName = None
    with_ranks: WithRanks = False


class BatchItem(Body):
    """One score of a batch: either `score`, to set it, or `delta`, to add to it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "alice", "region": "EU", "score": 100}]})

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


class Created(BaseModel):
    ok: bool
    created: Annotated[bool, Field(description="False when the player was there already, and nothing was changed.")]
    card: Annotated[Card, Field(description="The player.")]


class Standing(BaseModel):
    rank: Rank
    position: BoardPosition
    total: Total


class BatchResult(BaseModel):
    ok: bool
    board: Annotated[str, Field(description="The board that it counts on.", examples=["main"])]
    user_id: UserId
    region: Region
    score: Annotated[Score, Field(description="The score after the write.")]
    previous: Annotated[
        Score | None,
        Field(
            description="The score before. Null when there was none, and in the answer to a repeat whose first answer "
            "was lost."
        ),
    ]
    improved: Annotated[
        bool | None, Field(description="The score is better than before; null where that is not known.")
    ]
    updated_at: Annotated[
        Micros, Field(description="Microseconds since the epoch; each write of a player has a later one.")
    ]


class ScoreWritten(BatchResult):
    ranks: Annotated[
        dict[str, Standing] | None,
        Field(
            description="With `rank: true`: where the player stands in its region and on GLOBAL, read after the write. "
            "Not there when that could not be read."
        ),
    ] = None


class BatchRefusal(ErrorEnvelope):
    """One score of a batch that was refused, as the single submit would answer."""

    ok: Annotated[bool, Field(description="False.")]


class BatchWritten(BaseModel):
    ok: Annotated[bool, Field(description="Every score was accepted.")]
    accepted: Annotated[int, Field(description="How many were.")]
    results: Annotated[
        list[BatchResult | BatchRefusal],
        Field(description="In the order of the request; a refused one is an error with `ok: false`."),
    ]
