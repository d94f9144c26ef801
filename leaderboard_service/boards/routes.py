"""Serves board reads: top N, ranges, ranks of one player or of a list, the rows around a player."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from leaderboard_core import calls
from leaderboard_core.boards import Place
from leaderboard_core.errors import BoardNotFound, NoEntry, UserNotFound
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_service.boards.cursors import cursor_after, decode
from leaderboard_service.boards.dependencies import Boards, KnownPlaces, PageCoalescer
from leaderboard_service.boards.ranges import BoardRange
from leaderboard_service.boards.ranking import percentile
from leaderboard_service.boards.results import Page
from leaderboard_service.boards.rows import has_metadata, more_of, rows_as_json
from leaderboard_service.boards.schemas import (
    AroundAnswer,
    AroundQuery,
    RangeQuery,
    RankAnswer,
    RanksAnswer,
    RanksBody,
    RegionList,
    RowsQuery,
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
    responses=ANSWERED | refused_with(BoardNotFound, *READ_ERRORS),
)
async def get_top(
    query: Annotated[TopQuery, Query()], reads: Boards, coalescer: PageCoalescer, places: KnownPlaces
) -> JSONReply:
    """The best players of a board.

    Equal scores have equal ranks (1, 1, 3) and come by descending bytes of `user_id`, or on a board whose
    `ties` are `earliest` in the order in which they were reached. To walk a whole board, send each page's `next_cursor`
    as `cursor` until it is null.
    """
    limit, offset, cursor = query.limit, query.offset, query.cursor

    async def read(place: Place) -> JSONReply:
        after, metadata = (
            None if cursor is None else decode(cursor, place),
            has_metadata(place.board, wanted=query.metadata),
        )

        async def fetch() -> JSONReply:
            if after is None:
                page, source = await reads.top(place, limit, offset, metadata=metadata)
            else:
                page, source = await reads.page(place, BoardRange(after=after), limit, metadata=metadata)
            return _page(place, page, source, metadata=metadata)

        return await coalescer.read((place.name, limit, offset, cursor, metadata), fetch)

    return await places.read(query.board, query.region, read)


@router.get(
    calls.RANGE.path,
    response_description="A page of the range.",
    response_model=TopPage,
    responses=ANSWERED | refused_with(BoardNotFound, *READ_ERRORS),
)
async def get_range(query: Annotated[RangeQuery, Query()], reads: Boards, places: KnownPlaces) -> JSONReply:
    """The players of a board between two scores or two ranks.

    Give `min`, `max` or both, or else `from`, `to` or both; bounds are inclusive. Ranks are competition ranks: of
    50, 50, 30 the range from 2 to 3 holds the third player only. Rows come best first; pages go on with `cursor`, and
    the same bounds.
    """

    async def read(place: Place) -> JSONReply:
        after = None if query.cursor is None else decode(query.cursor, place)
        metadata = has_metadata(place.board, wanted=query.metadata)
        low, high = place.board.key_range(query.min, query.max)
        board_range = BoardRange(high=high, low=low, first=query.first, last=query.last, after=after)
        page, source = await reads.page(place, board_range, query.limit, metadata=metadata)
        return _page(place, page, source, metadata=metadata)

    return await places.read(query.board, query.region, read)


@router.get(
    calls.RANK.path,
    response_description="The player's row, and how many there are.",
    response_model=RankAnswer,
    responses=ANSWERED | refused_with(UserNotFound, NoEntry, BoardNotFound, *READ_ERRORS),
)
async def get_rank(
    user_id: UserId, query: Annotated[RowsQuery, Query()], reads: Boards, places: KnownPlaces
) -> JSONReply:
    """A player's rank on a board.

    Where a player is not on the board that is 404 `no_entry`; on `main`, in another region's ranking, `user_not_found`.
    """

    async def read(place: Place) -> JSONReply:
        board, metadata = place.board, has_metadata(place.board, wanted=query.metadata)
        entry, source = await reads.rank(place, user_id, metadata=metadata)
        row = entry.row
        answer = {
            "found": True,
            "board": board.name,
            "region": place.region,
            "total": entry.total,
            "rank": row.rank,
            "position": row.position,
            "percentile": percentile(row.rank, entry.total),
            "user_id": user_id,
            "name": row.name,
            "score": board.sign * row.key,
        }
        if metadata or board.rules.decimals:
            answer.update(more_of(board, row.key, row.member, entry.metadata if metadata else None))
        return reply_from(source, answer)

    return await places.read(query.board, query.region, read)


@router.post(
    calls.RANKS.path,
    response_description="Those of the list who are on the board.",
    response_model=RanksAnswer,
    responses=ANSWERED | refused_with(BoardNotFound, *NOT_READ, *READ_ERRORS),
)
async def get_ranks(body: RanksBody, reads: Boards, places: KnownPlaces) -> JSONReply:
    """The ranks of up to 1,000 players, such as somebody's friends.

    Where each stands in the list (`place`) and on the board (`rank`). Who is not on that board is listed in `unknown`
    and fails nothing. A read, though it is a POST: no token, and it may be repeated.
    """
    user_ids = list(dict.fromkeys(body.user_ids))

    async def read(place: Place) -> JSONReply:
        metadata = has_metadata(place.board, wanted=body.metadata)
        found, source = await reads.ranks(place, user_ids, metadata=metadata)
        rows = rows_as_json(place.board, [one.row for one in found.rows], found.metadata if metadata else None)
        known = {row["user_id"] for row in rows}
        return reply_from(
            source,
            {
                "board": place.board.name,
                "region": place.region,
                "total": found.total,
                "rows": [
                    {"place": one.place, **row, "percentile": one.percentile}
                    for one, row in zip(found.rows, rows, strict=True)
                ],
                "unknown": [user_id for user_id in user_ids if user_id not in known],
            },
        )

    return await places.read(body.board, body.region, read)


@router.get(
    calls.AROUND.path,
    response_description="The player and its neighbours.",
    response_model=AroundAnswer,
    responses=ANSWERED | refused_with(UserNotFound, NoEntry, BoardNotFound, *READ_ERRORS),
)
async def get_around(
    user_id: UserId, query: Annotated[AroundQuery, Query()], reads: Boards, places: KnownPlaces
) -> JSONReply:
    """A player and the rows above and below it."""

    async def read(place: Place) -> JSONReply:
        metadata = has_metadata(place.board, wanted=query.metadata)
        found, source = await reads.around(place, user_id, query.range, metadata=metadata)
        texts = found.metadata if metadata else None
        return reply_from(
            source,
            {
                "found": True,
                "board": place.board.name,
                "region": place.region,
                "total": found.total,
                "self": rows_as_json(place.board, (found.row,), texts)[0],
                "around": rows_as_json(place.board, found.around, texts),
            },
        )

    return await places.read(query.board, query.region, read)


def _page(place: Place, page: Page, source: Source, *, metadata: bool) -> JSONReply:
    return reply_from(
        source,
        {
            "board": place.board.name,
            "region": place.region,
            "total": page.total,
            "rows": rows_as_json(place.board, page.rows, page.metadata if metadata else None),
            "next_cursor": cursor_after(place, page.rows, more=page.more),
        },
    )
