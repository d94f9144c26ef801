"""Defines the JSON of score writes, whose bodies are validated strictly."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from leaderboard_core.errors import InvalidPayload
from leaderboard_service.definitions.schemas import BOARD_PATTERN
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


OnBoard = Annotated[
    str, Field(pattern=BOARD_PATTERN, examples=["main"], description="The board that the score is for.")
]

Metadata = Annotated[
    dict[str, Any] | None,
    Field(description="What belongs to the score, where the board keeps that (`metadata_bytes`).", examples=[None]),
]

WithRanks = Annotated[bool, Field(alias="rank", description="Answer with the player's ranks as well.")]


def _is_finite(found: object) -> bool:
    if isinstance(found, dict):
        return all(map(_is_finite, found.values()))
    if isinstance(found, list):
        return all(map(_is_finite, found))
    return not isinstance(found, float) or math.isfinite(found)


class ScoreOnBoard(Body):
    """What every score says of where it belongs."""

    board: OnBoard = "main"
    metadata: Metadata = None

    @property
    def metadata_json(self) -> str:
        """The metadata as it is kept, "" for none. Raises InvalidPayload."""
        if self.metadata is None:
            return ""
        try:
            text = orjson.dumps(self.metadata).decode()
        except orjson.JSONEncodeError as error:
            raise InvalidPayload(fields=[{"field": "metadata", "message": f"cannot be kept: {error}"}]) from error
        if "null" in text and not _is_finite(self.metadata):  # which is what orjson makes of them
            problem = "cannot be kept: JSON has no NaN, Infinity, or number as large as that"
            raise InvalidPayload(fields=[{"field": "metadata", "message": problem}])
        return text


class UpdateBody(ScoreOnBoard):
    score: Annotated[Score, Field(description="The new score.")]
    with_ranks: WithRanks = False


class AddBody(ScoreOnBoard):
    delta: Annotated[Score, Field(examples=[50], description="What to add; a negative one takes away.")]
    with_ranks: WithRanks = False


OptionalName = Annotated[
    Name | None, Field(description="The name that boards show; without one the stored name stays, or is the `user_id`.")
]


Force = Annotated[
    bool,
    Field(
        description="With a server's token: correct the score. It is set whatever the board's operator and bounds, and "
        "what came before counts no more."
    ),
]


class SubmitBody(ScoreOnBoard):
    user_id: UserId
    region: Region
    score: Annotated[Score, Field(description="The new score.")]
    name: OptionalName = None
    force: Force = False
    with_ranks: WithRanks = False


class BatchItem(ScoreOnBoard):
    """One score of a batch: either `score`, to set it, or `delta`, to add to it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "alice", "region": "EU", "score": 100}]})

    user_id: UserId
    region: Region
    score: Annotated[Score | None, Field(description="The new score.")] = None
    delta: Annotated[Score | None, Field(description="What to add, instead of `score`.")] = None
    name: OptionalName = None
    force: Force = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.score is None) == (self.delta is None):
            raise ValueError("give either score or delta")
        if self.force and self.score is None:
            raise ValueError("force sets a score; give no delta")
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


class EntryRemoved(BaseModel):
    ok: bool
    board: Annotated[str, Field(description="The board.", examples=["kills"])]
    user_id: UserId
    removed: Annotated[bool, Field(description="False when the player had no entry there, and nothing was changed.")]


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
