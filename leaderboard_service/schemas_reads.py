"""The JSON of the reads that take or give lists: ranges of a board, and the ranks of several players."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.schemas import BoardQuery, Body, Cursor, Limit, Name, Percentile, Region, Score, UserId

Rank = Annotated[int, Field(ge=1, le=MAX_EXACT_INTEGER)]


class RangeQuery(BoardQuery):
    """Either scores or ranks; one of two bounds may be left out."""

    min: Annotated[Score | None, Field(description="Lowest score.")] = None
    max: Annotated[Score | None, Field(description="Highest score.")] = None
    first: Annotated[Rank | None, Field(alias="from", description="Best rank; instead of min and max.")] = None
    last: Annotated[Rank | None, Field(alias="to", description="Worst rank; instead of min and max.")] = None
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


class RanksBody(Body):
    user_ids: Annotated[
        list[UserId],
        Field(min_length=1, max_length=1000, description="Repeated ones count once; unknown ones are listed."),
    ]
    region: Region = "GLOBAL"


class ListedRow(BaseModel):
    place: Annotated[int, Field(description="competition rank within the list")]
    rank: Annotated[int, Field(description="rank on the board")]
    percentile: Percentile
    user_id: UserId
    name: Name
    region: Region
    score: Score


class RanksAnswer(BaseModel):
    region: Annotated[Region, Field(description="the board")]
    total: Annotated[int, Field(description="players on the whole board")]
    rows: list[ListedRow]
    unknown: Annotated[list[UserId], Field(description="not on that board, in the order of the request")]
