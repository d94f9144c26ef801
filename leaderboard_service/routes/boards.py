"""Reads: top N, a player's rank, the rows around a player."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.http import json_response
from leaderboard_service.reads import Source
from leaderboard_service.routes.documented import errors
from leaderboard_service.schemas import USER_ID_PATTERN, AroundAnswer, RankAnswer, TopPage
from leaderboard_service.state import services

router = APIRouter(tags=["boards"])

RegionParameter = Annotated[str, Query(description="The board; GLOBAL ranks every player of every region.")]
UserIdParameter = Annotated[str, Path(min_length=1, max_length=128, pattern=USER_ID_PATTERN)]


@router.get("/top", response_model=TopPage, responses=errors(422, 503))
async def top(
    request: Request,
    region: RegionParameter = "GLOBAL",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=MAX_EXACT_INTEGER)] = 0,
) -> Response:
    """The best players of a board. Equal scores have equal ranks (1,1,3) and come by descending user_id."""
    parts = services(request)
    name = parts.region(region)
    page, source = await parts.reads.top(name, limit, offset)
    return _answer({"region": name, "total": page.total, "rows": [row._asdict() for row in page.rows]}, source)


@router.get("/rank/{user_id}", response_model=RankAnswer, responses=errors(404, 422, 503))
async def rank(request: Request, user_id: UserIdParameter, region: RegionParameter = "GLOBAL") -> Response:
    """A player's rank on a board: 1 + the number of players with a strictly higher score."""
    parts = services(request)
    name = parts.region(region)
    place, source = await parts.reads.rank(name, user_id)
    return _answer(
        {
            "found": True,
            "region": name,
            "total": place.total,
            "rank": place.row.rank,
            "user_id": user_id,
            "name": place.row.name,
            "score": place.row.score,
        },
        source,
    )


@router.get("/around/{user_id}", response_model=AroundAnswer, responses=errors(404, 422, 503))
async def around(
    request: Request,
    user_id: UserIdParameter,
    region: RegionParameter = "GLOBAL",
    reach: Annotated[int, Query(alias="range", ge=1, le=100)] = 10,
) -> Response:
    """A player and up to `range` rows above and below it, in board order."""
    parts = services(request)
    name = parts.region(region)
    found, source = await parts.reads.around(name, user_id, reach)
    return _answer(
        {
            "found": True,
            "region": name,
            "total": found.total,
            "self": found.row._asdict(),
            "around": [row._asdict() for row in found.around],
        },
        source,
    )


def _answer(content: object, source: Source) -> Response:
    return json_response(content, headers={"X-Leaderboard-Source": source})
