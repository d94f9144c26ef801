"""Runs the read scripts on one shard's part of a board."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from itertools import chain
from typing import Any, NamedTuple, NoReturn

from leaderboard_core.boards import Place
from leaderboard_core.errors import WarmingUp
from leaderboard_core.redis.lua import values_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_service.boards.places import check_definition
from leaderboard_service.boards.ranges import BoardRange, Point
from leaderboard_service.boards.ranking import NO_METADATA, Counts, Metadata, PagePart, Row
from leaderboard_service.boards.selection import SAMPLES, Sample


class Found(NamedTuple):
    """A player on one part of a board of `total` players, and what that part counts of its place."""

    total: int
    row: Row
    counts: Counts
    metadata: Metadata = NO_METADATA


class Missing(NamedTuple):
    """A player who is not on one part of a board of `total` players; `known` says whether the shard has it at all."""

    total: int
    known: bool


async def _run(shard: Shard, script: str, place: Place, args: Sequence[str | int], *further_keys: str) -> Any:
    """Run a script that reads a ranking, and says first which definition its board has. Raises Redefined."""
    keys, board = shard.keys, place.board
    answer = await shard.run(
        script, (keys.admission, keys.place(place), keys.definition(board.name), *further_keys), args
    )
    if answer[0] != board.state:
        check_definition(board, answer[0])
    return answer


def _naming(shard: Shard, place: Place) -> tuple[str, int, str]:
    """Return what scripts need for the names beside rows, regions only where they are not all the same."""
    return shard.keys.user(""), place.board.tie_digits, "" if _home(shard, place) else "1"


def _home(shard: Shard, place: Place) -> str:
    """Return the region of all players of a shard's part of a ranking, '' where they may be of several."""
    if place.region != GLOBAL:
        return place.region
    return shard.regions[0] if len(shard.regions) == 1 else ""


async def _columns(
    shard: Shard, place: Place, rows_text: str, named_text: str
) -> tuple[list[str], list[int], list[str], list[str]]:
    rows = values_of(rows_text)
    named = values_of(named_text, some=bool(rows))
    members = rows[::2]
    if home := _home(shard, place):
        names, homes = named, [home] * len(members)
    else:
        names, homes = named[::2], named[1::2]
    if "" in named:
        await _report_incomplete(
            shard, place, [member for member, name in zip(members, names, strict=True) if not name]
        )
    return members, list(map(int, rows[1::2])), names, homes


async def _report_incomplete(shard: Shard, place: Place, members: Sequence[str]) -> NoReturn:
    """Have players repaired who are on the board without a hash; the whole answer comes from Postgres meanwhile."""
    for member in members:
        await shard.report_incomplete(place.board.user_id_of(member))
    raise WarmingUp


async def read_page(
    shard: Shard, place: Place, board_range: BoardRange, limit: int, *, metadata: bool = False
) -> PagePart:
    boundary = board_range.start_boundary
    answer = await _run(
        shard,
        "read_page",
        place,
        (
            *_naming(shard, place),
            limit,
            *boundary,
            board_range.lowest,
            "" if board_range.first is None else board_range.first,
            "" if board_range.last is None else board_range.last,
            *_wanted(shard, place, metadata=metadata),
        ),
    )
    _, total, start, above, end, above_start, rows, named, *texts = answer
    columns = await _columns(shard, place, rows, named)
    return PagePart(
        total, start, above, *columns, end, boundary.key, above_start, _metadata_of_rows(columns[0], *texts)
    )


async def read_ranks(
    shard: Shard, place: Place, user_ids: Sequence[str], *, metadata: bool = False
) -> tuple[int, list[tuple[Row, Counts]], Metadata]:
    """Count this shard's players, and find those of `user_ids` that are here."""
    here = filter(shard.partition.holds, user_ids)
    hashes, of_member, of_metadata = _hashes_beside(shard, place)
    words = (shard.keys.user(""), hashes, of_member, of_metadata if metadata else "")
    _, total, text = await _run(shard, "read_ranks", place, (*words, *here))
    values = values_of(text)
    width = 7 if metadata else 6
    columns = (values[number::width] for number in range(6))
    found = [
        (Row(member, int(key), name, home), Counts(int(above), int(before)))
        for member, key, above, before, name, home in zip(*columns, strict=True)
    ]
    if nameless := [row.member for row, _ in found if not row.name]:
        await _report_incomplete(shard, place, nameless)
    return total, found, _metadata(values[::7], values[6::7]) if metadata else NO_METADATA


async def read_top(shard: Shard, place: Place, offset: int, limit: int, *, metadata: bool = False) -> PagePart:
    words = (*_naming(shard, place), offset, limit)
    if not metadata:
        _, total, start, above, rows, named = await _run(shard, "read_top", place, words)
        return PagePart(total, start, above, *await _columns(shard, place, rows, named))
    answer = await _run(shard, "read_top", place, (*words, *_wanted(shard, place, metadata=True)))
    _, total, start, above, rows, named, texts = answer
    columns = await _columns(shard, place, rows, named)
    return PagePart(total, start, above, *columns, metadata=_metadata_of_rows(columns[0], texts))


async def read_samples(shard: Shard, place: Place, after: Point, up_to: Point) -> Sample:
    answer = await _run(shard, "read_samples", place, (*after, *up_to, SAMPLES))
    _, total, low, high, stride, text = answer
    rows = values_of(text)
    points = map(Point, map(int, rows[1::2]), rows[::2])
    return Sample(total, low, high, list(zip(points, range(low + stride, high + 1, stride), strict=True)))


async def read_rank(shard: Shard, place: Place, user_id: str, *, metadata: bool = False) -> Found | Missing:
    words: tuple[str, ...] = (user_id,)
    if metadata or place.board.tie_digits:
        hashes, of_member, of_metadata = _hashes_beside(shard, place)
        words = (user_id, hashes, of_member, *((of_metadata,) if metadata else ()))
    answer = await _run(shard, "read_rank", place, words, shard.keys.user(user_id))
    if len(answer) == 3:
        return Missing(answer[1], bool(answer[2]))
    _, total, above, before, key, member, name, home, *texts = answer
    if not name:
        await _report_incomplete(shard, place, [member])
    row, counts = Row(member, int(key), name, home), Counts(above, before)
    return Found(total, row, counts, _metadata((member,), texts) if metadata else NO_METADATA)


async def count_above(shard: Shard, place: Place, board_keys: Sequence[int]) -> tuple[int, list[int]]:
    _, total, *above = await _run(shard, "count_above", place, board_keys)
    return total, above


async def count_before(shard: Shard, place: Place, points: Sequence[Point]) -> tuple[int, list[Counts]]:
    """Count this shard's players above and before points, where somebody may stand, or have stood until now."""
    _, total, *flat = await _run(shard, "count_before", place, tuple(chain.from_iterable(points)))
    return total, list(map(Counts, flat[::2], flat[1::2]))


def read_around(
    shard: Shard, place: Place, user_id: str, reach: int, *, metadata: bool = False
) -> Awaitable[tuple[PagePart, str] | Missing]:
    """Read up to `reach` rows above and below a player; returns its member too."""
    return _around(shard, place, reach, user_id, metadata=metadata)


async def read_next_to(shard: Shard, place: Place, reach: int, point: Point, *, metadata: bool = False) -> PagePart:
    """Read up to `reach` rows above and below where a player of another shard would stand."""
    found = await _around(shard, place, reach, "", point, metadata=metadata)
    if not isinstance(found, Missing):
        return found[0]
    raise RuntimeError("read_around reports a missing player only when no point is given")


async def _around(
    shard: Shard,
    place: Place,
    reach: int,
    user_id: str,
    point: Point | tuple[str, str] = ("", ""),
    *,
    metadata: bool,
) -> tuple[PagePart, str] | Missing:
    hashes, of_member, of_metadata = "", "", ""
    if metadata or place.board.tie_digits:
        hashes, of_member, of_metadata = _hashes_beside(shard, place)
    words = (*_naming(shard, place), reach, user_id, hashes, of_member, *point)
    answer = await _run(shard, "read_around", place, (*words, *((of_metadata,) if metadata else ())))
    if len(answer) == 3:
        return Missing(answer[1], bool(answer[2]))
    _, total, start, above, rows, named, member, *texts = answer
    columns = await _columns(shard, place, rows, named)
    return PagePart(total, start, above, *columns, metadata=_metadata_of_rows(columns[0], *texts)), member


def _hashes_beside(shard: Shard, place: Place) -> tuple[str, str, str]:
    """Return what the names of the hashes begin with that say more of a ranking's scores, and two of their fields.

    They are those of a player's member, '' where that is the user_id, and of the metadata. On `main` the hashes are
    the cards, else the entries, which say both in one field.
    """
    keys = shard.keys
    if place.is_default:
        return keys.user(""), "", "metadata"
    field = place.entry_field
    return keys.entries(""), field if place.board.tie_digits else "", field


def _wanted(shard: Shard, place: Place, *, metadata: bool) -> tuple[str, ...]:
    """Name the hashes and the field in them whose metadata is wanted."""
    if not metadata:
        return ()
    hashes, _, of_metadata = _hashes_beside(shard, place)
    return hashes, of_metadata


def _metadata_of_rows(members: Sequence[str], text: str = "") -> Metadata:
    """Return the metadata of the members that have any; no text came where nobody asked for it."""
    return _metadata(members, values_of(text)) if text else NO_METADATA


def _metadata(members: Sequence[str], texts: Sequence[str]) -> Metadata:
    return {member: text for member, text in zip(members, texts, strict=True) if text}
