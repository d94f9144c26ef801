"""Reconcile one player's entries: hash, sets and rows, by the rule by which states of an entry merge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from leaderboard_core.boards import Place
from leaderboard_core.entries import Entry, encode
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.deletions import ENTRIES_PER_CALL, take_entries
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from worker_service.recovery.compare_entries import (
    Boards,
    Entries,
    Member,
    entries_on,
    member_of,
    places_of,
    records_by_id,
    rows_among,
    strays_among,
    window_of,
)
from worker_service.recovery.forgetting import OffSet, forget_entries, take_off

ReadBoards: TypeAlias = Callable[[], Awaitable[Boards]]


async def reconcile_entries(
    shard: Shard,
    databases: RegionDatabases,
    region: str,
    user_id: str,
    read_boards: ReadBoards,
    members: Iterable[Member],
) -> str:
    """Mend the entries of a player of a region; `members` are what sets have besides. Returns what was done.

    That is 'from_redis' (what Postgres lacks is in the queue), 'from_postgres', or 'removed' where the player is not.
    Raises Unavailable, and asyncpg's errors.
    """
    now = await shard.now()
    (here,) = await entries_on(shard, [user_id])
    if not shard.partition.holds(user_id):
        await forget_entries(shard, user_id)
        return "removed"
    records = (await records_by_id(databases[region], [user_id])).get(user_id, [])
    boards = await read_boards()  # last: a board may be made meanwhile
    rows = rows_among(records, region, boards)
    await take_off(shard, user_id, list(_off_sets(shard, boards, user_id, here, members)))
    if here.region != region:
        if rows:
            latest = max(row.clock for row in rows)
            await databases[region].execute(sql.load("delete_entries_of_nobody"), user_id, region, latest)
        if not here.region:
            await take_from_nobody(shard, region, user_id, now)
        return "removed"
    dead = [row.board_id for row in rows if row.board_id not in boards.by_id and row.board_id not in boards.leaving]
    if dead:
        await databases[region].execute(sql.load("delete_entries_of_boards"), user_id, region, dead)
    return await _merge(shard, region, user_id, boards, here, rows)


async def take_from_nobody(shard: Shard, region: str, user_id: str, until: int) -> None:
    """Take the entries of a player who is not here, off the sets of all regions; those made after `until` (µs) stay.

    Raises Unavailable.
    """
    (here,) = await entries_on(shard, [user_id])
    await take_entries(shard, region, user_id, until)
    others = [place for place in shard.regions if place != region]
    strays = (Member(name, place, member_of(state, user_id)) for name, state in here.states.items() for place in others)
    await take_off(shard, user_id, [OffSet(*one, "stray") for one in strays])


async def _merge(shard: Shard, region: str, user_id: str, boards: Boards, here: Entries, rows: Sequence[Entry]) -> str:
    keys, by_field = shard.keys, {boards.field_of(row): row for row in rows}
    names = sorted(here.states.keys() | by_field.keys())
    places = [Place(board, window_of(name), region) for name in names if (board := boards.of_field(name)) is not None]
    outcomes = set[str]()
    for first in range(0, len(places), ENTRIES_PER_CALL):
        part = places[first : first + ENTRIES_PER_CALL]
        sets = [key for place in part for key in shard.keys.sets(place)]
        rows_of = ((place.entry_field, by_field.get(place.entry_field)) for place in part)
        texts = [f"{name}\0{encode(row) if row else '-'}" for name, row in rows_of]
        fixed = (keys.user(user_id), keys.entries(user_id), keys.queue(region))
        outcomes.add(await shard.run("reconcile_entries", (*fixed, *sets), (user_id, region, "verify", *texts)))
    for outcome in ("elsewhere", "from_redis", "from_postgres"):
        if outcome in outcomes:
            return outcome
    return "removed"


def _off_sets(shard: Shard, boards: Boards, user_id: str, here: Entries, members: Iterable[Member]) -> Iterable[OffSet]:
    """Name what has to go from sets: of boards that are gone, where no entry belongs, and what no entry explains."""
    for name, state in here.states.items():
        board = boards.of_field(name)
        if board is None:
            if not boards.leaves(name):
                yield from (OffSet(name, place, "", "gone") for place in {here.region or GLOBAL, GLOBAL})
        elif here.region:
            wanted = places_of(shard, board, window_of(name), here.region)
            for place, score in {here.region: state.on_region, GLOBAL: state.on_global}.items():
                if score and place not in wanted:
                    yield OffSet(name, place, "", "misplaced")
    for member in strays_among(shard, boards, user_id, here, members):
        board = boards.of_field(member.field)
        placed = (
            board and here.region and member.region in places_of(shard, board, window_of(member.field), here.region)
        )
        yield OffSet(member.field, member.region, member.member, "stray" if placed else "misplaced")
