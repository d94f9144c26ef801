"""Serves board reads: top N, ranges, ranks of one player or of a list, the rows around a player."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from leaderboard_core import calls
from leaderboard_core.boards import Place
from leaderboard_core.errors import UserNotFound
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_service.boards.cursors import cursor_after, decode
from leaderboard_service.boards.dependencies import Boards, PageCoalescer
from leaderboard_service.boards.ranges import BoardRange
from leaderboard_service.boards.ranking import percentile
from leaderboard_service.boards.results import Page
from leaderboard_service.boards.rows import rows_as_json
from leaderboard_service.boards.schemas import (
    AroundAnswer,
    AroundQuery,
    BoardQuery,
    RangeQuery,
    RankAnswer,
    RanksAnswer,
    RanksBody,
    RegionList,
    TopPage,
    TopQuery,
)
from leaderboard_service.boards.source_header import ANSWERED, Source, reply_from
from leaderboard_service.dependencies import KnownRegions
from leaderboard_service.openapi import NOT_READ, READ_ERRORS, refused_with
from leaderboard_service.schemas import UserId

router = APIRouter(tags=["boards"], route_class=CompiledRoute)


@router.get(
    calls.REGIONS.path,
    response_description="The names of all regions.",
    response_model=RegionList,
)
async def get_regions(regions: KnownRegions) -> JSONReply:
    """The regions of this system, for a form to choose from."""
    return JSONReply({"regions": list(regions)})


@router.get(
    calls.TOP.path,
    response_description="A page of the board.",
    response_model=TopPage,
    responses=ANSWERED | refused_with(*READ_ERRORS),
)
async def get_top(
    query: Annotated[TopQuery, Query()], reads: Boards, coalescer: PageCoalescer, regions: KnownRegions
) -> JSONReply:
    """The best players of a board.

    Equal scores have equal ranks (1, 1, 3) and come by descending bytes of `user_id`. To walk a whole board, send each
    page's `next_cursor` as `cursor` until it is null.
    """
    place, limit, offset, cursor = regions.place(query.region), query.limit, query.offset, query.cursor
    after = None if cursor is None else decode(cursor, place)

    async def fetch() -> JSONReply:
        if after is None:
            page, source = await reads.top(place, limit, offset)
        else:
            page, source = await reads.page(place, BoardRange(after=after), limit)
        return _page(place, page, source)

    return await coalescer.read((place.name, limit, offset, cursor), fetch)


@router.get(
    calls.RANGE.path,
    response_description="A page of the range.",
    response_model=TopPage,
    responses=ANSWERED | refused_with(*READ_ERRORS),
)
async def get_range(query: Annotated[RangeQuery, Query()], reads: Boards, regions: KnownRegions) -> JSONReply:
    """The players of a board between two scores or two ranks.

    Give `min`, `max` or both, or else `from`, `to` or both; bounds are inclusive. Ranks are competition ranks: of
    50, 50, 30 the range from 2 to 3 holds the third player only. Rows come best first; pages go on with `cursor`, and
    the same bounds.
    """
    place = regions.place(query.region)
    after = None if query.cursor is None else decode(query.cursor, place)
    low, high = place.board.key_range(query.min, query.max)
    board_range = BoardRange(high=high, low=low, first=query.first, last=query.last, after=after)
    page, source = await reads.page(place, board_range, query.limit)
    return _page(place, page, source)


@router.get(
    calls.RANK.path,
    response_description="The player's row, and how many there are.",
    response_model=RankAnswer,
    responses=ANSWERED | refused_with(UserNotFound, *READ_ERRORS),
)
async def get_rank(
    user_id: UserId, query: Annotated[BoardQuery, Query()], reads: Boards, regions: KnownRegions
) -> JSONReply:
    """A player's rank on a board.

    On a board where the player is not (another region's), the answer is 404 as well.
    """
    place = regions.place(query.region)
    entry, source = await reads.rank(place, user_id)
    return reply_from(
        source,
        {
            "found": True,
            "region": place.region,
            "total": entry.total,
            "rank": entry.row.rank,
            "position": entry.row.position,
            "percentile": percentile(entry.row.rank, entry.total),
            "user_id": user_id,
            "name": entry.row.name,
            "score": place.board.sign * entry.row.key,
        },
    )


@router.post(
    calls.RANKS.path,
    response_description="Those of the list who are on the board.",
    response_model=RanksAnswer,
    responses=ANSWERED | refused_with(*NOT_READ, *READ_ERRORS),
)
async def get_ranks(body: RanksBody, reads: Boards, regions: KnownRegions) -> JSONReply:
    """The ranks of up to 1,000 players, such as somebody's friends.

    Where each stands in the list (`place`) and on the board (`rank`). Who is not on that board is listed in `unknown`
    and fails nothing. A read, though it is a POST: no token, and it may be repeated.
    """
    place = regions.place(body.region)
    user_ids = list(dict.fromkeys(body.user_ids))
    found, source = await reads.ranks(place, user_ids)
    rows = rows_as_json(place.board, (one.row for one in found.rows))
    known = {row["user_id"] for row in rows}
    return reply_from(
        source,
        {
            "region": place.region,
            "total": found.total,
            "rows": [
                {"place": one.place, **row, "percentile": one.percentile}
                for one, row in zip(found.rows, rows, strict=True)
            ],
            "unknown": [user_id for user_id in user_ids if user_id not in known],
        },
    )


@router.get(
    calls.AROUND.path,
    response_description="The player and its neighbours.",
    response_model=AroundAnswer,
    responses=ANSWERED | refused_with(UserNotFound, *READ_ERRORS),
)
async def get_around(
    user_id: UserId, query: Annotated[AroundQuery, Query()], reads: Boards, regions: KnownRegions
) -> JSONReply:
    """A player and the rows above and below it."""
    place = regions.place(query.region)
    found, source = await reads.around(place, user_id, query.range)
    return reply_from(
        source,
        {
            "found": True,
            "region": place.region,
            "total": found.total,
            "self": rows_as_json(place.board, (found.row,))[0],
            "around": rows_as_json(place.board, found.around),
        },
    )


def _page(place: Place, page: Page, source: Source) -> JSONReply:
    return reply_from(
        source,
        {
            "region": place.region,
            "total": page.total,
            "rows": rows_as_json(place.board, page.rows),
            "next_cursor": cursor_after(place, page.rows, more=page.more),
        },
    )
