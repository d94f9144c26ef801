"""Runs the read scripts on one shard's part of a board."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, NoReturn

from leaderboard_core.boards import Place
from leaderboard_core.errors import WarmingUp
from leaderboard_core.redis.shard import Shard
from leaderboard_service.boards.ranges import BoardRange, Point
from leaderboard_service.boards.ranking import Counts, PagePart, Row
from leaderboard_service.boards.selection import SAMPLES, Sample


class Found(NamedTuple):
    """A player on one part of a board of `total` players, and what that part counts of its place."""

    total: int
    row: Row
    counts: Counts


async def _columns(
    shard: Shard, place: Place, rows: list[str], named: list[str]
) -> tuple[list[str], list[int], list[str], list[str]]:
    members = rows[::2]
    if None in named:
        await _report_incomplete(
            shard, place, [member for member, name in zip(members, named[::2], strict=True) if not name]
        )
    return members, list(map(int, rows[1::2])), named[::2], named[1::2]


async def _report_incomplete(shard: Shard, place: Place, members: Sequence[str]) -> NoReturn:
    """Have players repaired who are on the board without a hash; the whole answer comes from Postgres meanwhile."""
    for member in members:
        await shard.report_incomplete(place.board.user_id_of(member))
    raise WarmingUp


async def read_page(shard: Shard, place: Place, board_range: BoardRange, limit: int) -> PagePart:
    keys, boundary = shard.keys, board_range.start_boundary
    answer = await shard.run(
        "read_page",
        (keys.admission, keys.place(place)),
        (
            keys.user(""),
            place.board.tie_digits,
            limit,
            *boundary,
            board_range.lowest,
            "" if board_range.first is None else board_range.first,
            "" if board_range.last is None else board_range.last,
        ),
    )
    _, total, start, above, end, above_start, rows, named = answer
    return PagePart(total, start, above, *await _columns(shard, place, rows, named), end, boundary.key, above_start)


async def read_ranks(shard: Shard, place: Place, user_ids: Sequence[str]) -> tuple[int, list[tuple[Row, Counts]]]:
    """Count this shard's players, and find those of `user_ids` that are here."""
    keys, here = shard.keys, filter(shard.partition.holds, user_ids)
    _, total, *flat = await shard.run(
        "read_ranks",
        (keys.admission, keys.place(place)),
        (keys.user(""), keys.entries(""), _entry_field(place), *here),
    )
    columns = (flat[number::6] for number in range(6))
    found = [
        (Row(member, int(key), name, home), Counts(int(above), int(before)))
        for member, key, above, before, name, home in zip(*columns, strict=True)
    ]
    if nameless := [row.member for row, _ in found if not row.name]:
        await _report_incomplete(shard, place, nameless)
    return int(total), found


async def read_top(shard: Shard, place: Place, offset: int, limit: int) -> PagePart:
    keys = shard.keys
    _, total, start, above, rows, named = await shard.run(
        "read_top",
        (keys.admission, keys.place(place)),
        (keys.user(""), place.board.tie_digits, offset, limit),
    )
    return PagePart(total, start, above, *await _columns(shard, place, rows, named))


async def read_samples(shard: Shard, place: Place, after: Point, up_to: Point) -> Sample:
    keys = shard.keys
    answer = await shard.run("read_samples", (keys.admission, keys.place(place)), (*after, *up_to, SAMPLES))
    _, total, low, high, stride, rows = answer
    points = map(Point, map(int, rows[1::2]), rows[::2])
    return Sample(total, low, high, list(zip(points, range(low + stride, high + 1, stride), strict=True)))


async def read_rank(shard: Shard, place: Place, user_id: str) -> Found | None:
    keys = shard.keys
    answer = await shard.run(
        "read_rank",
        (keys.admission, keys.place(place), keys.user(user_id)),
        (user_id, keys.entries(""), _entry_field(place)),
    )
    if answer[0] == "missing":
        return None
    _, total, above, before, key, member, name, home = answer
    if not name:
        await _report_incomplete(shard, place, [member])
    return Found(int(total), Row(member, int(key), name, home), Counts(int(above), int(before)))


async def count_above(shard: Shard, place: Place, board_keys: Sequence[int]) -> tuple[int, list[int]]:
    keys = shard.keys
    _, total, *above = await shard.run("count_above", (keys.admission, keys.place(place)), board_keys)
    return int(total), list(map(int, above))


async def count_before(shard: Shard, place: Place, points: Sequence[Point]) -> tuple[int, list[Counts]]:
    """Count this shard's players above and before points, where somebody may stand, or have stood until now."""
    keys = shard.keys
    _, total, *flat = await shard.run(
        "count_before", (keys.admission, keys.place(place)), tuple(chain.from_iterable(points))
    )
    return int(total), list(map(Counts, map(int, flat[::2]), map(int, flat[1::2])))


async def read_around(shard: Shard, place: Place, user_id: str, reach: int) -> tuple[PagePart, str] | None:
    """Read up to `reach` rows above and below a player; returns its member too, None if it is not here."""
    return await _around(shard, place, reach, user_id)


async def read_next_to(shard: Shard, place: Place, reach: int, point: Point) -> PagePart:
    """Read up to `reach` rows above and below where a player of another shard would stand."""
    found = await _around(shard, place, reach, "", point)
    if found is None:
        raise RuntimeError("read_around reports a missing player only when no point is given")
    return found[0]


async def _around(
    shard: Shard, place: Place, reach: int, user_id: str, point: Point | tuple[str, str] = ("", "")
) -> tuple[PagePart, str] | None:
    keys = shard.keys
    answer = await shard.run(
        "read_around",
        (keys.admission, keys.place(place)),
        (keys.user(""), place.board.tie_digits, reach, user_id, keys.entries(""), _entry_field(place), *point),
    )
    if answer[0] == "missing":
        return None
    _, total, start, above, rows, named, member = answer
    return PagePart(total, start, above, *await _columns(shard, place, rows, named)), member


def _entry_field(place: Place) -> str:
    """Name what says a player's member, '' where that is the user_id."""
    return place.entry_field if place.board.tie_digits else ""
