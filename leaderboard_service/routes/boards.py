"""Reads: top N, a player's rank, the rows around a player."""

from __future__ import annotations

from collections.abc import Iterable

from leaderboard_service.asgi import Call, Reply, json_reply
from leaderboard_service.ranking import RankedRow
from leaderboard_service.reads import Source
from leaderboard_service.routes.documented import Route
from leaderboard_service.schemas import AroundAnswer, AroundQuery, BoardQuery, RankAnswer, TopPage, TopQuery


async def top(call: Call) -> Reply:
    """The best players of a board. Equal scores have equal ranks (1,1,3) and come by descending user_id."""
    query = call.query(TopQuery)
    region, limit, offset = call.parts.region(query.region), query.limit, query.offset

    async def look() -> Reply:
        page, source = await call.parts.reads.top(region, limit, offset)
        return _answer({"region": region, "total": page.total, "rows": _rows(page.rows)}, source)

    reply: Reply = await call.parts.shared.read((region, limit, offset), look)
    return reply


async def rank(call: Call) -> Reply:
    """A player's rank on a board: 1 + the number of players with a strictly higher score."""
    user_id, query = call.user_id(), call.query(BoardQuery)
    region = call.parts.region(query.region)
    place, source = await call.parts.reads.rank(region, user_id)
    return _answer(
        {
            "found": True,
            "region": region,
            "total": place.total,
            "rank": place.row.rank,
            "user_id": user_id,
            "name": place.row.name,
            "score": place.row.score,
        },
        source,
    )


async def around(call: Call) -> Reply:
    """A player and up to `range` rows above and below it, in board order."""
    user_id, query = call.user_id(), call.query(AroundQuery)
    region = call.parts.region(query.region)
    found, source = await call.parts.reads.around(region, user_id, query.range)
    return _answer(
        {
            "found": True,
            "region": region,
            "total": found.total,
            "self": _rows((found.row,))[0],
            "around": _rows(found.around),
        },
        source,
    )


def _rows(rows: Iterable[RankedRow]) -> list[dict[str, str | int]]:
    return [
        {"rank": rank, "user_id": user_id, "name": name, "region": region, "score": score}
        for rank, user_id, name, region, score in rows
    ]


def _answer(content: object, source: Source) -> Reply:
    return json_reply(content, headers={"X-Leaderboard-Source": source})


ROUTES = (
    Route("GET", "/top", top, "boards", TopPage, query=TopQuery, errors=(422, 503)),
    Route("GET", "/rank/{user_id}", rank, "boards", RankAnswer, query=BoardQuery, errors=(404, 422, 503)),
    Route("GET", "/around/{user_id}", around, "boards", AroundAnswer, query=AroundQuery, errors=(404, 422, 503)),
)
