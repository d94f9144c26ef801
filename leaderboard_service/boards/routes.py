"""Reads: top N, ranges, ranks of one player or of a list, the rows around a player."""

from __future__ import annotations

from pydantic import BaseModel

from leaderboard_core.errors import PayloadTooLarge, UserNotFound
from leaderboard_service.asgi import Call, Handler, Reply, json_reply
from leaderboard_service.boards.cursors import cursor_after, decode
from leaderboard_service.boards.ranges import Stretch
from leaderboard_service.boards.ranking import percentile
from leaderboard_service.boards.redis_boards import Page
from leaderboard_service.boards.rows import shown
from leaderboard_service.boards.schemas import (
    AroundAnswer,
    AroundQuery,
    BoardQuery,
    RangeQuery,
    RankAnswer,
    RanksAnswer,
    RanksBody,
    TopPage,
    TopQuery,
)
from leaderboard_service.boards.service import Source
from leaderboard_service.openapi import FROM_SOURCE, READ_ERRORS, SOURCE, Errors, Route
from leaderboard_service.schemas import Body


async def top(call: Call) -> Reply:
    """The best players of a board.

    Equal scores have equal ranks (1, 1, 3) and come by descending bytes of `user_id`. To walk a whole board, send each
    page's `next_cursor` as `cursor` until it is null.
    """
    query = call.query(TopQuery)
    region, limit, offset, cursor = call.parts.region(query.region), query.limit, query.offset, query.cursor
    after = None if cursor is None else decode(cursor, region)

    async def look() -> Reply:
        if after is None:
            page, source = await call.parts.reads.top(region, limit, offset)
        else:
            page, source = await call.parts.reads.page(region, Stretch(after=after), limit)
        return _page(region, page, source)

    reply: Reply = await call.parts.shared.read((region, limit, offset, cursor), look)
    return reply


async def range_(call: Call) -> Reply:
    """The players of a board between two scores or two ranks.

    Give `min`, `max` or both, or else `from`, `to` or both; bounds are inclusive. Ranks are competition ranks: of
    50, 50, 30 the range from 2 to 3 holds the third player only. Rows come best first; pages go on with `cursor`, and
    the same bounds.
    """
    query = call.query(RangeQuery)
    region = call.parts.region(query.region)
    after = None if query.cursor is None else decode(query.cursor, region)
    stretch = Stretch(high=query.max, low=query.min, first=query.first, last=query.last, after=after)
    page, source = await call.parts.reads.page(region, stretch, query.limit)
    return _page(region, page, source)


async def ranks(call: Call) -> Reply:
    """The ranks of up to 1,000 players, such as somebody's friends.

    Where each stands in the list (`place`) and on the board (`rank`). Who is not on that board is listed in `unknown`
    and fails nothing. A read, though it is a POST: no token, and it may be repeated.
    """
    body = await call.body(RanksBody)
    region = call.parts.region(body.region)
    user_ids = list(dict.fromkeys(body.user_ids))
    found, source = await call.parts.reads.ranks(region, user_ids)
    known = {row.user_id for row in found.rows}
    content = {
        "region": region,
        "total": found.total,
        "rows": [row._asdict() for row in found.rows],
        "unknown": [user_id for user_id in user_ids if user_id not in known],
    }
    return _answer(content, source)


async def rank(call: Call) -> Reply:
    """A player's rank on a board.

    On a board where the player is not (another region's), the answer is 404 as well.
    """
    user_id, query = call.user_id(), call.query(BoardQuery)
    region = call.parts.region(query.region)
    place, source = await call.parts.reads.rank(region, user_id)
    return _answer(
        {
            "found": True,
            "region": region,
            "total": place.total,
            "rank": place.row.rank,
            "percentile": percentile(place.row.rank, place.total),
            "user_id": user_id,
            "name": place.row.name,
            "score": place.row.score,
        },
        source,
    )


async def around(call: Call) -> Reply:
    """A player and the rows above and below it."""
    user_id, query = call.user_id(), call.query(AroundQuery)
    region = call.parts.region(query.region)
    found, source = await call.parts.reads.around(region, user_id, query.range)
    return _answer(
        {
            "found": True,
            "region": region,
            "total": found.total,
            "self": shown((found.row,))[0],
            "around": shown(found.around),
        },
        source,
    )


def _page(region: str, page: Page, source: Source) -> Reply:
    content = {
        "region": region,
        "total": page.total,
        "rows": shown(page.rows),
        "next_cursor": cursor_after(region, page.rows, more=page.more),
    }
    return _answer(content, source)


def _answer(content: object, source: Source) -> Reply:
    return json_reply(content, headers=FROM_SOURCE[source])


def _read(
    method: str,
    path: str,
    handler: Handler,
    response: type[BaseModel],
    *,
    body: type[Body] | None = None,
    query: type[BaseModel] | None = None,
    more_errors: Errors = (),
) -> Route:
    return Route(
        method,
        path,
        handler,
        "boards",
        response,
        body=body,
        query=query,
        errors=(*more_errors, *READ_ERRORS),
        answer_headers=SOURCE,
    )


ROUTES = (
    _read("GET", "/top", top, TopPage, query=TopQuery),
    _read("GET", "/range", range_, TopPage, query=RangeQuery),
    _read("GET", "/rank/{user_id}", rank, RankAnswer, query=BoardQuery, more_errors=(UserNotFound,)),
    _read("POST", "/ranks", ranks, RanksAnswer, body=RanksBody, more_errors=(PayloadTooLarge,)),
    _read("GET", "/around/{user_id}", around, AroundAnswer, query=AroundQuery, more_errors=(UserNotFound,)),
)
