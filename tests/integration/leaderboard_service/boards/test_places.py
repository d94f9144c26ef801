"""Reads of boards other than `main` from both stores, in each order and with each kind of ties, against sorting."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise, product
from typing import Final

import pytest

from leaderboard_core.boards import ALL, Board, Order, Place, Rules, Ties
from leaderboard_core.errors import NoEntry, UserNotFound
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.keys import GLOBAL
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_service.boards.postgres_boards import PostgresBoards
from leaderboard_service.boards.ranges import BoardRange, Point
from leaderboard_service.boards.ranking import RankedRow, percentile
from leaderboard_service.boards.redis_boards import RedisBoards
from leaderboard_service.boards.redis_queries import count_before
from leaderboard_service.boards.source import BoardSource
from leaderboard_service.boards.total_order import ByPosition
from tests.support.service import Api

REGIONS = ("ASIA", "EU", "NA")
NOW = datetime(2026, 1, 1)
ORDERS: Final[tuple[Order, ...]] = ("desc", "asc")
TIES: Final[tuple[Ties, ...]] = ("shared", "earliest")
BOARDS = [
    Board(f"{order}-{ties}", number, 1, Rules(order=order, ties=ties, regions=regions))
    for number, (order, ties, regions) in enumerate(product(ORDERS, TIES, (True, False)), start=7)
]


@dataclass(frozen=True)
class Entry:
    """A player on a board, and when (µs) it reached its score."""

    user_id: str
    region: str
    score: int
    reached_at: int

    def point(self, board: Board) -> Point:
        return Point(board.sign * self.score, board.member_of(self.user_id, self.reached_at))

    def metadata(self, board: Board) -> str:
        """What was sent with the score: some have sent nothing."""
        return f'{{"at":{{"n":{self.reached_at % 10}}}}}' if board.rules.metadata_bytes and self.score != 1 else ""


def players_of(chance: random.Random, number_of_them: int = 60) -> list[Entry]:
    """Make players with few scores, some of which were reached at once."""
    return [
        Entry(
            f"{chance.choice(['a', 'Z', 'é', 'フ'])}{number}",
            chance.choice(REGIONS),
            chance.randint(-2, 2),
            1_767_225_600_000_000 + chance.randrange(9),
        )
        for number in range(number_of_them)
    ]


async def fill(shard_map: ShardMap, board: Board, chance: random.Random, number_of_them: int = 60) -> list[Entry]:
    """Put players on a board, as writes would, and somebody more on `main` only."""
    entries = players_of(chance, number_of_them)
    for entry in entries:
        user_id = entry.user_id
        shard = shard_map.shard_of(entry.region, user_id)
        keys, place = shard.keys, Place(board, ALL, entry.region)
        at = entry.point(board)
        if board.rules.regions:
            await shard.client.zadd(keys.place(place), {at.member: at.key})
        await shard.client.zadd(keys.place(place.in_region(GLOBAL)), {at.member: at.key})
        tie = at.member[: board.tie_digits] or "-"
        await shard.client.hset(keys.entries(user_id), place.entry_field, entry_text(entry, board, at.key, tie))
        await shard.client.hset(keys.user(user_id), mapping={"name": user_id.upper(), "region": entry.region})
    away = shard_map.shard_of("EU", "away")
    await away.client.hset(away.keys.user("away"), mapping={"name": "AWAY", "region": "EU"})
    return entries


def entry_text(entry: Entry, board: Board, key: int, tie: str) -> str:
    """Write an entry as the hash has it, some with the key of their last write."""
    repeat = " @0a1b:c2d3" if entry.score == 2 else ""
    metadata = entry.metadata(board)
    return f"{key} {tie} {entry.reached_at} 0 0 0{repeat}{metadata and ' ' + metadata}"


def ranked(entries: list[Entry], place: Place) -> list[RankedRow]:
    """Rank those who count in a ranking, by sorting and counting."""
    board = place.board
    here = [entry for entry in entries if place.region in (GLOBAL, entry.region)]
    here.sort(key=lambda entry: entry.point(board).order, reverse=True)
    keys = [entry.point(board).key for entry in here]
    return [
        RankedRow(1 + sum(key > keys[number] for key in keys), number + 1, *columns(entry, board))
        for number, entry in enumerate(here)
    ]


def as_answered(entries: list[Entry], place: Place) -> list[RankedRow]:
    """Rank them as the API does: where the earliest stands higher every rank is another."""
    rows = ranked(entries, place)
    return [row._replace(rank=row.position) for row in rows] if place.board.tie_digits else rows


def columns(entry: Entry, board: Board) -> tuple[str, str, str, int]:
    at = entry.point(board)
    return at.member, entry.user_id.upper(), entry.region, at.key


async def test_every_read_is_what_sorting_says(any_api: Api) -> None:
    for board in BOARDS:
        entries = await fill(any_api.services.shard_map, board, random.Random(board.id))
        await compare(RedisBoards(any_api.services.shard_map), board, entries)


async def compare(store: BoardSource, board: Board, entries: list[Entry]) -> None:
    chance, reads = random.Random(board.id), ByPosition(store) if board.tie_digits else store
    for region in (*REGIONS, GLOBAL) if board.rules.regions else (GLOBAL,):
        place = Place(board, ALL, region)
        expected = as_answered(entries, place)
        page = await reads.top(place, 1000, 0)
        assert (page.total, page.rows, page.more) == (len(expected), expected, False)
        for offset, limit in ((0, 3), (1, 7), (len(expected) - 2, 5)):
            assert (await reads.top(place, limit, offset)).rows == expected[offset : offset + limit]
        for row in expected[::3]:
            user_id = board.user_id_of(row.member)
            assert (await reads.rank(place, user_id))[:2] == (len(expected), row)
            found = await reads.around(place, user_id, 2)
            at = row.position - 1
            assert (found.row, found.around) == (row, expected[max(0, at - 2) : at] + expected[at + 1 : at + 3])
            after = await reads.page(place, BoardRange(after=Point(row.key, row.member)), 5)
            assert after.rows == expected[row.position : row.position + 5]
        for low, high in ((-1, 1), (None, 0), (2, None)):
            lowest, highest = board.key_range(low, high)
            inside = [
                row
                for row in expected
                if (low is None or board.sign * row.key >= low) and (high is None or board.sign * row.key <= high)
            ]
            assert (await reads.page(place, BoardRange(low=lowest, high=highest), 100)).rows == inside
        third = [row for row in expected if 3 <= row.rank <= 9]
        assert (await reads.page(place, BoardRange(first=3, last=9), 100)).rows == third
        some = chance.sample(expected, 5)
        listed = await reads.ranks(place, [*(board.user_id_of(row.member) for row in some), "away", "nobody"])
        assert [one.row for one in listed.rows] == sorted(some, key=lambda row: row.position)
        for one in listed.rows:
            assert one.percentile == percentile(one.row.rank, len(expected))
            assert one.place == 1 + sum(row.rank < one.row.rank for row in some)
        for missing, refusal, details in (
            ("away", NoEntry, {"found": False, "total": len(expected)}),
            ("nobody", UserNotFound, {"found": False}),
        ):
            for call in (reads.rank(place, missing), reads.around(place, missing, 3)):
                with pytest.raises(UserNotFound) as refused:
                    await call
                assert (type(refused.value), refused.value.details) == (refusal, details), (missing, place)


async def test_a_point_is_counted_alike_whether_or_not_its_player_still_stands_there(any_api: Api) -> None:
    """A rank on a board in parts takes two round trips: the player may have gone down, or away, by the second."""
    shard_map, board = any_api.services.shard_map, BOARDS[0]
    place, entries = Place(board, ALL, GLOBAL), await fill(shard_map, board, random.Random(board.id))
    for row in ranked(entries, place)[::7]:
        home = shard_map.shard_of(row.region, board.user_id_of(row.member))
        part, point = home.keys.place(place), Point(row.key, row.member)
        for moved_to in (row.key - 9, None):
            assert await counted_at(shard_map, place, point) == (row.rank, row.position)
            await home.client.zrem(part, row.member)
            if moved_to is not None:
                await home.client.zadd(part, {row.member: moved_to})
            assert await counted_at(shard_map, place, point) == (row.rank, row.position)
            await home.client.zadd(part, {row.member: row.key})


async def counted_at(shard_map: ShardMap, place: Place, point: Point) -> tuple[int, int]:
    """Return the rank and the position at a point as all parts of a board count them."""
    parts = [(await count_before(shard, place, [point]))[1][0] for shard in shard_map.shards_of_board(place.region)]
    return 1 + sum(part.above for part in parts), 1 + sum(part.before for part in parts)


async def save(databases: RegionDatabases, boards: list[Board], entries: list[Entry]) -> None:
    """Save players and their entries on boards, as workers would, and on each an entry that was taken off."""
    for region in REGIONS:
        own = [entry for entry in entries if entry.region == region]
        cards = [(entry.user_id, entry.user_id.upper(), region, 0) for entry in own]
        cards += [("away", "AWAY", region, 0)] if region == "EU" else []
        rows = [
            (entry.user_id, board.id, ALL, region, *reversed(entry.point(board)), NOW, False, entry.metadata(board))
            for board in boards
            for entry in own
        ]
        rows += [("removed", board.id, ALL, region, "removed", 99, NOW, True, "") for board in boards]
        pool = databases[region]
        await pool.copy_records_to_table("leaderboard", records=cards, columns=("user_id", "name", "region", "score"))
        columns = (
            "user_id",
            "board_id",
            "board_window",
            "region",
            "member",
            "key",
            "updated_at",
            "removed",
            "metadata",
        )
        await pool.copy_records_to_table("entries", records=rows, columns=columns)


async def test_postgres_says_the_same_of_every_board(databases: RegionDatabases) -> None:
    reads, entries = PostgresBoards(databases), players_of(random.Random(1))
    await save(databases, BOARDS, entries)
    try:
        for board in BOARDS:
            await compare(reads, board, entries)
    finally:
        await reads.close()


async def test_many_boards_share_one_snapshot(databases: RegionDatabases) -> None:
    """Each has an index of its own, which is read when it is first asked for."""
    reads, boards = PostgresBoards(databases), [Board(f"b{n}", 100 + n, 1, Rules()) for n in range(20)]
    entries = players_of(random.Random(1))
    await save(databases, boards, entries)
    try:
        expected = ranked(entries, Place(boards[0], ALL, "EU"))
        pages = await asyncio.gather(*(reads.top(Place(board, ALL, "EU"), 100, 0) for board in boards))
        assert all(page.rows == expected for page in pages)
        held = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in tra%'"
        assert await databases["EU"].fetchval(held) <= 2
    finally:
        await reads.close()


@pytest.mark.parametrize("statement", ["board_counts_between", "board_marks", "board_place", "board_rows_from"])
async def test_postgres_goes_by_the_order_of_the_board(databases: RegionDatabases, statement: str) -> None:
    """Counts and marks look at nothing but the index of entries; only rows are joined with their names."""
    await databases["EU"].execute(
        "INSERT INTO entries (user_id, board_id, board_window, region, key, member, updated_at) "
        "SELECT 'p' || n, 7, 'all', 'EU', n % 100, 'p' || n, now() FROM generate_series(1, 20000) AS n"
    )
    # Without statistics the plan is a guess, which differs with when autovacuum comes by.
    await databases["EU"].execute("ANALYZE entries, leaderboard")
    further = {"board_counts_between": ([50], ["p9"], [40], ["p1"])}.get(statement, (50, "p9", 10))
    more = (5,) if statement == "board_marks" else ()
    async with databases["EU"].acquire() as connection, connection.transaction():
        await connection.execute(sql.load("go_by_order"))
        asked = "EXPLAIN " + sql.load_over("rows_of_entries", statement)
        plan = "\n".join(line for (line,) in await connection.fetch(asked, "EU", 7, ALL, *further, *more))
    assert "entries_order" in plan
    assert ("leaderboard" in plan) == (statement == "board_rows_from"), plan
    assert "Seq Scan on entries" not in plan, plan
    assert "Sort" not in plan or statement == "board_marks", plan


async def test_where_the_earliest_stands_higher_every_rank_is_another(any_api: Api) -> None:
    board = Board("laps", 3, 1, Rules(order="asc", ties="earliest"))
    entries = await fill(any_api.services.shard_map, board, random.Random(3))
    # Two who reached one score in the same µs are told apart by their ids.
    rows = (await RedisBoards(any_api.services.shard_map).top(Place(board, ALL, GLOBAL), 100, 0)).rows
    by_score = sorted(entries, key=lambda entry: (entry.score, entry.reached_at))
    assert [board.sign * row.key for row in rows] == [entry.score for entry in by_score]
    times = {entry.user_id: entry.reached_at for entry in entries}
    for one, other in pairwise(rows):
        if one.key == other.key:
            assert times[board.user_id_of(one.member)] <= times[board.user_id_of(other.member)]
