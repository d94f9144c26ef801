"""Runs the read scripts on one shard's part of a board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from leaderboard_core.errors import WarmingUp
from leaderboard_core.redis.shard import Shard
from leaderboard_service.boards.ranges import BoardRange, Position
from leaderboard_service.boards.ranking import PagePart, Row
from leaderboard_service.boards.selection import SAMPLES, Sample


async def _page_part(shard: Shard, answer: list[Any]) -> PagePart:
    _, total, start, above, rows, named = answer
    return PagePart(total, start, above, *await _columns(shard, rows, named))


async def _columns(
    shard: Shard, rows: list[str], named: list[str]
) -> tuple[list[str], list[int], list[str], list[str]]:
    user_ids = rows[::2]
    if None in named:
        await _report_incomplete(
            shard, [user_id for user_id, name in zip(user_ids, named[::2], strict=True) if not name]
        )
    return user_ids, list(map(int, rows[1::2])), named[::2], named[1::2]


async def _report_incomplete(shard: Shard, user_ids: Sequence[str]) -> NoReturn:
    """Have players repaired who are on the board without a hash; the whole answer comes from Postgres meanwhile."""
    for user_id in user_ids:
        await shard.report_incomplete(user_id)
    raise WarmingUp


async def read_page(shard: Shard, region: str, board_range: BoardRange, limit: int) -> PagePart:
    keys, boundary = shard.keys, board_range.start_boundary
    answer = await shard.run(
        "read_page",
        (keys.admission, keys.board(region)),
        (
            keys.user(""),
            limit,
            boundary.score,
            boundary.user_id,
            board_range.lowest,
            "" if board_range.first is None else board_range.first,
            "" if board_range.last is None else board_range.last,
        ),
    )
    _, total, start, above, end, above_start, rows, named = answer
    return PagePart(total, start, above, *await _columns(shard, rows, named), end, boundary.score, above_start)


async def read_ranks(shard: Shard, region: str, user_ids: Sequence[str]) -> tuple[int, list[Row], dict[int, int]]:
    """Count this shard's players, find those of `user_ids` that are here, and count the players above their scores."""
    keys, here = shard.keys, filter(shard.partition.holds, user_ids)
    _, total, *flat = await shard.run("read_ranks", (keys.admission, keys.board(region)), (keys.user(""), *here))
    if "" in flat[3::5]:
        await _report_incomplete(
            shard, [user_id for user_id, name in zip(flat[::5], flat[3::5], strict=True) if not name]
        )
    rows = [
        Row(user_id, int(score), name, home)
        for user_id, score, name, home in zip(flat[::5], flat[1::5], flat[3::5], flat[4::5], strict=True)
    ]
    return int(total), rows, dict(zip(map(int, flat[1::5]), map(int, flat[2::5]), strict=True))


async def read_top(shard: Shard, region: str, offset: int, limit: int) -> PagePart:
    keys = shard.keys
    answer = await shard.run("read_top", (keys.admission, keys.board(region)), (keys.user(""), offset, limit))
    return await _page_part(shard, answer)


async def read_samples(shard: Shard, region: str, after: Position, up_to: Position) -> Sample:
    keys = shard.keys
    answer = await shard.run("read_samples", (keys.admission, keys.board(region)), (*after, *up_to, SAMPLES))
    _, total, low, high, stride, rows = answer
    positions = map(Position, map(int, rows[1::2]), rows[::2])
    return Sample(total, low, high, list(zip(positions, range(low + stride, high + 1, stride), strict=True)))


async def read_rank(shard: Shard, region: str, user_id: str) -> tuple[int, int, int, str, str] | None:
    keys = shard.keys
    answer = await shard.run("read_rank", (keys.admission, keys.board(region), keys.user(user_id)), (user_id,))
    if answer[0] == "missing":
        return None
    _, total, above, score, name, home_region = answer
    if not name:
        await _report_incomplete(shard, [user_id])
    return int(total), int(above), int(score), name, home_region


async def count_above(shard: Shard, region: str, scores: Sequence[int]) -> tuple[int, list[int]]:
    keys = shard.keys
    _, total, *above = await shard.run("count_above", (keys.admission, keys.board(region)), scores)
    return int(total), list(map(int, above))


async def read_around(shard: Shard, region: str, user_id: str, reach: int, score: int | None = None) -> PagePart | None:
    keys = shard.keys
    answer = await shard.run(
        "read_around",
        (keys.admission, keys.board(region)),
        (keys.user(""), user_id, reach, "" if score is None else score),
    )
    return None if answer[0] == "missing" else await _page_part(shard, answer)


async def read_next_to(shard: Shard, region: str, user_id: str, reach: int, score: int) -> PagePart:
    part = await read_around(shard, region, user_id, reach, score)
    if part is None:
        raise RuntimeError("read_around reports a missing player only when no score is given")
    return part
