"""Boards from Postgres: exact against a count of every row, few statements however many ask, and early refusals."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis
from asyncpg.connection import LoggedQuery

from leaderboard_core.boards import Place
from leaderboard_core.errors import Unavailable, UserNotFound
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from leaderboard_service.boards.postgres_boards import PostgresBoards
from leaderboard_service.boards.postgres_queries import read_index
from leaderboard_service.boards.postgres_snapshots import WAIT_SECONDS, WAITING_PER_CONNECTION
from leaderboard_service.boards.ranges import START, BoardRange, Point
from leaderboard_service.boards.ranking import RankedRow, percentile
from leaderboard_service.boards.sparse_index import STRIDE
from tests.support.service import running_service
from tests.support.waiting import eventually
from tests.support.worker import EAGER
from worker_service.recovery.rebuild import rebuild

PLAYERS = {"EU": 2 * STRIDE + 700, "ASIA": STRIDE + 1, "NA": 3}
"""More than one mark, one, and none; GLOBAL is nobody's home."""
POOL_SIZE = 2
PLACES = POOL_SIZE - 1
SECONDS_OLD = 1.0
"""How old an answer may be, as the documents say."""


async def pools_of(environ: dict[str, str], size: int, seconds: int = 5) -> AsyncIterator[RegionDatabases]:
    settings = {**environ, "POSTGRES_POOL_SIZE": str(size), "POSTGRES_TIMEOUT_SECONDS": str(seconds)}
    opened = await RegionDatabases.open(load(TopologySettings, settings))
    yield opened
    await opened.close()


@pytest.fixture
async def pools(environ: dict[str, str], databases: RegionDatabases) -> AsyncIterator[RegionDatabases]:
    """Emptied databases, with pools of POOL_SIZE connections."""
    async for opened in pools_of(environ, POOL_SIZE):
        yield opened


@pytest.fixture
async def wide_pools(environ: dict[str, str], databases: RegionDatabases) -> AsyncIterator[RegionDatabases]:
    """Emptied databases, with more connections than a few readers need, and time for the slowest machine."""
    async for opened in pools_of(environ, 8, seconds=30):
        yield opened


Rows = dict[str, tuple[str, int]]
"""Region and score by user_id."""


def some_players() -> Rows:
    chance = random.Random(7)
    found: Rows = {}
    for region, count in PLAYERS.items():
        for number in range(count):
            # Half of the players have one of five scores, so that ties are longer than a stride.
            score = chance.choice((-5, 0, 7, 7, 8)) if chance.random() < 0.5 else chance.randrange(-(10**6), 10**6)
            found[f"{chance.choice(['a', 'Z', 'é', 'フ'])}-{region}-{number}"] = region, score
    return found


async def save(pools: RegionDatabases, rows: Rows) -> None:
    for region in PLAYERS:
        own = [(user_id, "N", home, score) for user_id, (home, score) in rows.items() if home == region]
        await pools[region].copy_records_to_table(
            "leaderboard", records=own, columns=("user_id", "name", "region", "score")
        )


def board_of(rows: Rows, region: str) -> list[RankedRow]:
    """Rank every row by counting those above."""
    found = [(score, user_id, home) for user_id, (home, score) in rows.items() if region in ("GLOBAL", home)]
    found.sort(key=lambda row: (row[0], row[1].encode()), reverse=True)
    ranked: list[RankedRow] = []
    for number, (score, user_id, home) in enumerate(found, 1):
        tied = bool(ranked) and ranked[-1].key == score
        ranked.append(RankedRow(ranked[-1].rank if tied else number, number, user_id, "N", home, score))
    return ranked


async def compare(boards: PostgresBoards, rows: Rows, region: str) -> None:
    """Compare reads of every kind, at many places, with the board."""
    board = board_of(rows, region)
    steps = 3 if region == "GLOBAL" else 9  # four databases, several times for a range of ranks
    places = sorted({0, 1, *range(0, len(board), max(1, len(board) // steps)), *range(len(board) - 2, len(board))})
    for offset in [*places, len(board), len(board) + 5]:
        page = await boards.top(Place.on_main(region), 20, offset)
        assert (page.rows, page.more) == (board[offset : offset + 20], offset + 20 < len(board))
        assert page.total == len(board)
    for place in places:
        own = board[place]
        entry = await boards.rank(Place.on_main(region), own.member)
        assert entry.row == own
        assert entry.total == len(board)
        found = await boards.around(Place.on_main(region), own.member, 4)
        assert (found.row, found.around) == (own, board[max(0, place - 4) : place] + board[place + 1 : place + 5])
        await compare_range(boards, region, board, BoardRange(after=Point(own.key, own.member)))
        for bounds in ({"high": own.key}, {"low": own.key}, {"high": own.key + 9, "low": own.key - 99}):
            await compare_range(boards, region, board, BoardRange(**bounds))
        for first, last in ((own.rank, None), (None, own.rank), (own.rank, own.rank + 30), (place + 1, place + 1)):
            await compare_range(boards, region, board, BoardRange(first=first, last=last))
    await compare_range(boards, region, board, BoardRange(first=len(board) + 1))
    listed = [board[place] for place in places]
    ranks = await boards.ranks(Place.on_main(region), [*(row.member for row in listed), "nobody"])
    assert [one.row for one in ranks.rows] == listed
    assert [one.percentile for one in ranks.rows] == [percentile(row.rank, ranks.total) for row in listed]


async def compare_range(boards: PostgresBoards, region: str, board: list[RankedRow], asked: BoardRange) -> None:
    def inside(row: RankedRow) -> bool:
        behind = asked.after is None or (row.key, row.member.encode()) < (
            asked.after.key,
            asked.after.member.encode(),
        )
        return (
            behind
            and (asked.low is None or row.key >= asked.low)
            and (asked.high is None or row.key <= asked.high)
            and (asked.first is None or row.rank >= asked.first)
            and (asked.last is None or row.rank <= asked.last)
        )

    wanted = [row for row in board if inside(row)]
    page = await boards.page(Place.on_main(region), asked, 7)
    assert (page.rows, page.more) == (wanted[:7], len(wanted) > 7), asked


@pytest.mark.parametrize("region", ["EU", "ASIA", "NA", "GLOBAL"])
async def test_every_read_is_that_of_a_count_of_all_rows(wide_pools: RegionDatabases, region: str) -> None:
    rows = some_players()
    await save(wide_pools, rows)
    boards = PostgresBoards(wide_pools)
    await compare(boards, rows, region)


async def test_a_page_of_any_depth_of_a_board_of_several_databases(wide_pools: RegionDatabases) -> None:
    """With more rows than are sampled without the marks, long ties, and regions of very different sizes."""
    expected: list[tuple[int, str]] = []
    for region, players, scores in (("EU", 30_000, 40), ("ASIA", 9_000, 9_000), ("NA", 50, 2)):
        found = await wide_pools[region].fetch(
            "INSERT INTO leaderboard (user_id, name, region, score) "
            "SELECT chr(65 + n % 57) || n || $1, 'N', $1, n % $3 FROM generate_series(1, $2::integer) AS n "
            "RETURNING score, user_id",
            region,
            players,
            scores,
        )
        expected += map(tuple, found)
    expected.sort(key=lambda row: (row[0], row[1].encode()), reverse=True)
    rows = board_of({user_id: (user_id[-2:], score) for score, user_id in expected}, "GLOBAL")
    boards = PostgresBoards(wide_pools)
    for offset in (0, 110, 111, 5_000, 20_000, 33_333, 39_000, len(rows) - 1, len(rows), 2**53 - 1):
        page = await boards.top(Place.on_main("GLOBAL"), 10, offset)
        found_rows = [(row.rank, row.member, row.key) for row in page.rows]
        assert found_rows == [(row.rank, row.member, row.key) for row in rows[offset : offset + 10]]
        assert (page.total, page.more) == (len(rows), offset + 10 < len(rows))


@pytest.mark.serial  # a second and half of one more is not much on a busy machine
async def test_every_answer_is_of_one_moment_about_a_second_ago_at_most(
    environ: dict[str, str], pools: RegionDatabases
) -> None:
    base = 2 * STRIDE
    await save(pools, {f"p{number}": ("EU", number) for number in range(base)})
    boards = PostgresBoards(pools)
    committed: list[float] = []
    writer = await asyncpg.connect(environ["DATABASE_URL_EU"], statement_cache_size=0)

    async def write() -> None:
        """Commit one more player above all the others, again and again."""
        while True:
            number = len(committed)
            await writer.execute(
                "INSERT INTO leaderboard (user_id, name, region, score) VALUES ($1, 'N', 'EU', $2)",
                f"new-{number:06d}",
                base + number,
            )
            committed.append(time.monotonic())

    writing = asyncio.create_task(write())
    try:
        seen = 0
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            asked = time.monotonic()
            entry, page = await boards.rank(Place.on_main("EU"), "p0"), await boards.top(Place.on_main("EU"), 3, 0)
            assert entry.row.rank == entry.total
            assert entry.total - base >= seen, "an answer is not older than the one before"
            seen = page.total - base
            assert page.rows[0].key == page.total - 1
            # The time-outs of a busy machine aside.
            assert seen >= sum(at < asked - SECONDS_OLD - 0.5 for at in committed)
        assert seen > 0
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await writer.close()


async def test_a_transaction_under_way_is_seen_when_it_has_committed(
    environ: dict[str, str], pools: RegionDatabases
) -> None:
    rows = {f"p{number}": ("EU", number) for number in range(2 * STRIDE)}
    await save(pools, rows)
    boards = PostgresBoards(pools)
    writer = await asyncpg.connect(environ["DATABASE_URL_EU"], statement_cache_size=0)

    async def is_committed() -> bool:
        entry = await boards.rank(Place.on_main("EU"), "p5")
        assert entry.row.rank in (2 * STRIDE - 5, 2 * STRIDE - 4)
        return entry.row.rank == 2 * STRIDE - 4

    try:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("UPDATE leaderboard SET score = score + 10000 WHERE user_id = 'p0'")
        assert not await is_committed()
        await transaction.commit()
        await eventually(is_committed, "the new rank", seconds=SECONDS_OLD + 1)
        assert (await boards.rank(Place.on_main("EU"), "p0")).row.rank == 1
    finally:
        await writer.close()


async def test_a_board_that_stays_the_same_is_read_from_end_to_end_once(
    environ: dict[str, str], pools: RegionDatabases
) -> None:
    players = 20_000
    observer = await asyncpg.connect(environ["DATABASE_URL_EU"], statement_cache_size=0)
    # Index entries of rows that earlier tests deleted would be read and counted too.
    await observer.execute("VACUUM leaderboard")
    await save(pools, {f"p{number}": ("EU", number) for number in range(players)})
    boards = PostgresBoards(pools)
    states: list[str] = []
    """What the server's transactions were, each time they changed: an ANALYZE of its own may be one."""
    changed_at = 0.0

    async def look() -> None:
        nonlocal changed_at
        state = await observer.fetchval("SELECT pg_current_snapshot()::text")
        if state not in states[-1:]:
            states.append(state)
            changed_at = time.monotonic()

    async def entries_read() -> int:
        await look()  # of before the reading too: it may be of a state that has changed when it is done
        await boards.top(Place.on_main("EU"), 1, 0)
        await look()
        found: int = await observer.fetchval(
            "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'leaderboard_region_score'"
        )
        return found

    async def unchanged_for_long() -> bool:
        await entries_read()
        return time.monotonic() > changed_at + 6 * SECONDS_OLD

    try:
        before = await entries_read()
        await eventually(lambda: more_than(entries_read, before + players / 2), "Postgres' count of the first reading")
        await eventually(unchanged_for_long, "a server on which nothing changes", seconds=60)
        readings = (await entries_read() - before) / players
        assert readings < len(states) + 1, states
    finally:
        await observer.close()


async def more_than(count: Callable[[], Awaitable[int]], least: float) -> bool:
    return await count() > least


async def test_a_table_that_is_slow_to_read_by_its_index_is_sorted_with_the_same_result(pools: RegionDatabases) -> None:
    # More marks than two statements read, and long ties.
    await pools["EU"].execute(
        "INSERT INTO leaderboard (user_id, name, region, score) SELECT chr(65 + n % 57) || n, 'N', "
        "CASE WHEN n % 9 = 0 THEN 'NA' ELSE 'EU' END, n % 7 * 1000 + n % 50 FROM generate_series(1, 50000) AS n"
    )
    async with pools["EU"].acquire() as connection, connection.transaction(isolation="repeatable_read"):
        by_index = await read_index(connection, Place.on_main("EU"), None, 60.0)
        sorted_ = await read_index(connection, Place.on_main("EU"), None, 0.0)
        rows = await connection.fetch(
            "SELECT score, user_id FROM leaderboard WHERE region = 'EU' ORDER BY score DESC, user_id COLLATE \"C\" DESC"
        )
    assert by_index.total == sorted_.total == len(rows)
    assert by_index.marks == sorted_.marks == (START, *(Point(*row) for row in rows[STRIDE - 1 :: STRIDE]))


async def test_no_transaction_stays_open_when_nobody_reads(environ: dict[str, str], pools: RegionDatabases) -> None:
    boards = PostgresBoards(pools)
    await boards.top(Place.on_main("EU"), 1, 0)
    observer = await asyncpg.connect(environ["DATABASE_URL_EU"], statement_cache_size=0)

    async def open_transactions() -> int:
        found: int = await observer.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
        )
        return found

    async def none_is_open() -> bool:
        return await open_transactions() == 0

    try:
        assert await open_transactions() == 1
        await eventually(none_is_open, "the end of the transaction")
        assert (await boards.top(Place.on_main("EU"), 1, 0)).total == 0
        await boards.close()
        assert await open_transactions() == 0
    finally:
        await observer.close()


async def test_a_snapshot_that_is_ended_from_outside_is_replaced(
    environ: dict[str, str], pools: RegionDatabases
) -> None:
    await save(pools, {"p": ("EU", 1)})
    boards = PostgresBoards(pools)
    await boards.top(Place.on_main("EU"), 1, 0)
    observer = await asyncpg.connect(environ["DATABASE_URL_EU"], statement_cache_size=0)
    try:
        await observer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE state = 'idle in transaction' AND datname = current_database()"
        )
    finally:
        await observer.close()

    async def is_answered() -> bool:
        try:
            return (await boards.rank(Place.on_main("EU"), "p")).row.rank == 1
        except Unavailable:
            return False

    assert not await is_answered()
    await eventually(is_answered, "another snapshot", seconds=SECONDS_OLD + 2)


async def test_a_player_who_is_not_there_is_not_found(pools: RegionDatabases) -> None:
    await save(pools, {"here": ("EU", 1)})
    boards = PostgresBoards(pools)
    for region, user_id in (("EU", "nobody"), ("GLOBAL", "nobody"), ("ASIA", "here")):
        with pytest.raises(UserNotFound):
            await boards.rank(Place.on_main(region), user_id)
        with pytest.raises(UserNotFound):
            await boards.around(Place.on_main(region), user_id, 3)


@asynccontextmanager
async def held_table(url: str) -> AsyncIterator[Callable[[], Awaitable[list[int]]]]:
    """Lock EU's table against reads; yield what tells the connections that wait for it."""
    holder, observer = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(2)]

    async def waiting() -> list[int]:
        found = await observer.fetch(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() "
            "ORDER BY pid"
        )
        return [row["pid"] for row in found]

    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE leaderboard IN ACCESS EXCLUSIVE MODE")
            yield waiting
    finally:
        await holder.close()
        await observer.close()


async def steady(waiting: Callable[[], Awaitable[list[int]]], least: int = 1) -> int:
    """Count those who wait, once there are `least`, and they have been the same for half a second.

    That more would come shows over a time only; how long the first take to connect does not matter.
    """
    last: list[int] = []
    since = time.monotonic()

    async def unchanged() -> bool:
        nonlocal last, since
        if (found := await waiting()) != last or len(found) < least:
            last, since = found, time.monotonic()
        return time.monotonic() - since >= 0.5

    await eventually(unchanged, "statements that wait")
    return len(last)


async def test_with_every_place_taken_others_are_refused_early(environ: dict[str, str], pools: RegionDatabases) -> None:
    rows = {f"p{number}": ("EU", number) for number in range(400)}
    await save(pools, rows)
    boards = PostgresBoards(pools)
    await boards.top(Place.on_main("EU"), 1, 0)
    most_waiting = WAITING_PER_CONNECTION * POOL_SIZE
    async with held_table(environ["DATABASE_URL_EU"]) as waiting:
        reads: list[asyncio.Task[Any]] = []
        refused_after: list[float] = []

        async def read(number: int) -> int:
            started = time.monotonic()
            try:
                return (await boards.rank(Place.on_main("EU"), f"p{number}")).row.rank
            except Unavailable:
                refused_after.append(time.monotonic() - started)
                raise

        for number in range(PLACES + most_waiting + 20):
            reads.append(asyncio.create_task(read(number)))
        await eventually(lambda: len(refused_after) == 20 + most_waiting, "refusals", seconds=10)
        # Who waits is refused after that time only: these did not wait.
        assert sum(seconds < WAIT_SECONDS for seconds in refused_after) == 20
        # One more may be about to read the index anew.
        assert len(await waiting()) in (PLACES, PLACES + 1)
        # What does not need the table is answered meanwhile: a connection is left for others.
        assert await pools["EU"].fetchval("SELECT 1", timeout=1) == 1
    assert await reads[0] == 400
    done = await asyncio.gather(*reads, return_exceptions=True)
    refused = [answer for answer in done if isinstance(answer, Unavailable)]
    assert len(refused) == 20 + most_waiting
    assert {error.headers["Retry-After"] for error in refused} == {"1"}
    assert (await boards.rank(Place.on_main("EU"), "p7")).row.rank == 393


async def test_many_readers_wait_for_one_reading_of_the_index(
    environ: dict[str, str], wide_pools: RegionDatabases
) -> None:
    rows = {f"p{number}": ("EU", number) for number in range(6)}
    await save(wide_pools, rows)
    boards = PostgresBoards(wide_pools)
    async with held_table(environ["DATABASE_URL_EU"]) as waiting:
        reads = [asyncio.create_task(boards.rank(Place.on_main("EU"), user_id)) for user_id in rows]
        assert await steady(waiting) == 1
    assert {entry.row.rank for entry in await asyncio.gather(*reads)} == set(range(1, 7))


async def test_identical_reads_share_one(wide_pools: RegionDatabases) -> None:
    await save(wide_pools, {"p": ("EU", 1), "q": ("EU", 2)})
    boards = PostgresBoards(wide_pools)
    snapshots_used: list[str] = []

    def count(sent: LoggedQuery) -> None:
        if "SET TRANSACTION SNAPSHOT" in sent.query:
            snapshots_used.append(sent.query)

    pool = wide_pools["EU"]
    async with AsyncExitStack() as stack:
        for connection in [await stack.enter_async_context(pool.acquire()) for _ in range(pool.get_max_size())]:
            connection.add_query_logger(count)
    ranks = await asyncio.gather(*(boards.rank(Place.on_main("EU"), user_id) for user_id in "pq" * 15))
    assert [entry.row.rank for entry in ranks] == [2, 1] * 15
    # Of each player the first read, and one for all who came while it was under way.
    assert len(snapshots_used) == 4


async def test_a_postgres_that_is_away_is_said_so_at_once_and_again(environ: dict[str, str]) -> None:
    nowhere = {**environ, "DATABASE_URL_EU": "postgresql://x@127.0.0.1:1/x"}
    pools = await RegionDatabases.open(load(TopologySettings, nowhere))
    try:
        boards = PostgresBoards(pools)
        started = time.monotonic()
        for _ in range(20):
            with pytest.raises(Unavailable, match="Neither Redis nor Postgres"):
                await boards.top(Place.on_main("EU"), 1, 0)
        assert time.monotonic() - started < 2
    finally:
        await pools.close()


async def test_a_redis_of_one_region_that_is_away_is_logged_once_for_each_board(
    environ: dict[str, str], redis_1: redis.Redis, databases: RegionDatabases, caplog: pytest.LogCaptureFixture
) -> None:
    parted = {**environ, "REDIS_URL_EU": "redis://127.0.0.1:1/0"}
    shard_map = ShardMap.open(load(TopologySettings, parted))
    await rebuild(shard_map.shards[0], databases, EAGER)
    await shard_map.close()
    async with running_service(parted) as api:
        for _ in range(5):
            for region, source in (("EU", "postgres"), ("ASIA", "redis"), ("GLOBAL", "postgres")):
                response = await api.get(f"/top?region={region}")
                assert (response.status_code, response.headers["x-leaderboard-source"]) == (200, source)
    lines = [record for record in caplog.records if "reads come from" in record.getMessage()]
    assert sorted(line.__dict__.get("region", "") for line in lines) == ["EU", "GLOBAL"]
