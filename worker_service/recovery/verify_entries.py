"""Compare the entries of all boards, in Redis and in Postgres, and mend what differs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias

from leaderboard_core.boards import MAIN, Board
from leaderboard_core.entries import Entry
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from leaderboard_core.postgres.dead_boards import being_swept, dead_among
from leaderboard_core.postgres.definitions import all_saved
from leaderboard_core.redis.queues import queue_state
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from worker_service.recovery.compare_entries import (
    Boards,
    Entries,
    Member,
    compare_entries,
    entries_on,
    records_by_id,
    rows_among,
    strays_among,
    title_of,
)
from worker_service.recovery.definitions import known_to
from worker_service.recovery.differences import CHUNK, MOST_DIFFERENCES, Difference, Report, Verified, recheck
from worker_service.recovery.reconcile import rows_of
from worker_service.recovery.reconcile_entries import reconcile_entries
from worker_service.recovery.restore import PAGE, PAGE_TIMEOUT_SECONDS, ahead, fetched

KEYS_PER_SCAN = 1_000

Seen: TypeAlias = AsyncGenerator[tuple[str, str, Iterable[Member]], None]
"""Region ('' for that where the player is seen besides), user_id, and what stands on sets."""
Candidates: TypeAlias = dict[str, dict[str, set[Member]]]
"""By region, the players whose entries seem to differ, with what stands on sets besides."""


class EntryVerifier:
    """Streams once over the rows, the hashes and the sets of entries, then verifies the players that seemed to differ.

    A system that has never had a board is asked for that alone.
    """

    def __init__(self, shard_map: ShardMap, databases: RegionDatabases, wait_seconds: float) -> None:
        self._map = shard_map
        self._databases = databases
        self._wait_seconds = wait_seconds

    async def verify(self, report: Report, *, repair: bool) -> None:
        """Compare everything; with `repair` reconcile what differs.

        Raises Unavailable, RebuildInterrupted or Postgres' errors.
        """
        if not await self._any():
            return
        for shard in self._map.shards:
            candidates = await self._candidates(shard, report, repair=repair)
            for region, members in candidates.items():
                look = partial(self._look, shard, region, members)
                differences = await recheck(members, look, report, self._wait_seconds)
                report.differences += differences
                for one in differences if repair else ():
                    user_id, seen = one.user_id, members[one.user_id]
                    outcome = await reconcile_entries(shard, self._databases, region, user_id, self._boards, seen)
                    report.repaired.append((one, outcome))

    async def _any(self) -> bool:
        boards = await self._boards()
        if len(boards.by_id) > 1 or boards.leaving:
            return True
        return any([await pool.fetchval(sql.load("any_entry")) for pool in self._databases.distinct()])

    async def _boards(self) -> Boards:
        pool = self._databases[GLOBAL]
        found = {one.board.id: one for one in await known_to(self._map.shards) or () if not one.gone}
        dead = await dead_among(pool, found)
        found |= {saved.definition.board.id: saved.definition for saved in await all_saved(pool)}
        # Where a restore took Postgres back, shards know of boards that it does not: nobody has called them gone.
        there: dict[int, Board] = {
            board_id: one.board for board_id, one in found.items() if not one.gone and board_id not in dead
        }
        return Boards({MAIN.id: MAIN, **there}, frozenset(await being_swept(pool)))

    async def _candidates(self, shard: Shard, report: Report, *, repair: bool) -> Candidates:
        boards, found = await self._boards(), {region: dict[str, set[Member]]() for region in shard.regions}
        for passing in (
            self._from_rows(shard, boards, report),
            self._from_hashes(shard, boards),
            self._from_sets(shard, report, repair=repair),
        ):
            async with aclosing(passing) as seen:
                async for home, user_id, members in seen:
                    known = (region for region, users in found.items() if user_id in users)
                    region = home or next(known, shard.regions[0])
                    found[region].setdefault(user_id, set()).update(members)
                    if sum(map(len, found.values())) > MOST_DIFFERENCES:
                        report.truncated = True
                        return found
        return found

    async def _from_rows(self, shard: Shard, boards: Boards, report: Report) -> Seen:
        """Yield the players whose rows are not what Redis has."""
        for pool in {self._databases[region]: None for region in shard.regions}:
            regions = self._databases.regions_of(pool)
            homes = [region for region in regions if region in shard.regions]
            others = set(regions) - set(homes)
            async with aclosing(_row_pages(pool)) as pages:
                async for page in pages:
                    by_user: dict[str, list[Any]] = {}
                    for one in page:
                        if one["region"] not in others and shard.partition.holds(one["user_id"]):
                            by_user.setdefault(one["user_id"], []).append(one)
                            report.entries += 1
                    for part in _chunks(list(by_user)):
                        for user_id, here in zip(part, await entries_on(shard, part), strict=True):
                            for region in {one["region"] for one in by_user[user_id]}:
                                rows = rows_among(by_user[user_id], region, boards)
                                if region not in homes:
                                    yield homes[0], user_id, ()
                                elif _rows_differ(shard, region, user_id, boards, here, rows):
                                    yield region, user_id, ()

    async def _from_hashes(self, shard: Shard, boards: Boards) -> Seen:
        """Yield the players whose entries in Redis are not what Postgres has."""
        start = shard.keys.entries("")
        async with aclosing(_scan(shard, f"{start}*")) as pages:
            async for page in pages:
                for part in _chunks([key.removeprefix(start) for key in page]):
                    by_region: dict[str, dict[str, Entries]] = {}
                    for user_id, here in zip(part, await entries_on(shard, part), strict=True):
                        by_region.setdefault(self._home(shard, here) or shard.regions[0], {})[user_id] = here
                    for region, states in by_region.items():
                        records = await records_by_id(self._databases[region], states)
                        for user_id, here in states.items():
                            rows = rows_among(records.get(user_id, ()), region, boards)
                            if compare_entries(shard, region, user_id, boards, here, rows, has_card=False):
                                yield here.region and region, user_id, ()

    async def _from_sets(self, shard: Shard, report: Report, *, repair: bool) -> Seen:
        """Yield the players who stand on a set as no entry says; sets of boards that are gone are told at once."""
        start = shard.keys.entry_set("", "")[:-1]
        async with aclosing(_scan(shard, f"{start}*:*")) as pages:
            async for page in pages:
                boards = await self._boards()  # after the names: a board may have been made meanwhile
                for key in page:
                    name, _, place = key.removeprefix(start).rpartition(":")
                    board = boards.of_field(name)
                    if board is not None:
                        async for found in self._members(shard, boards, board, key, name, place):
                            yield found
                    elif not boards.leaves(name) and await shard.command("EXISTS", key):
                        region = place if place in shard.regions else shard.regions[0]
                        one = Difference(region, "", f"{title_of(name)}: is on the board of {place}, and is gone")
                        report.differences.append(one)
                        if repair:
                            await shard.command("DEL", key)
                            report.repaired.append((one, "removed"))

    async def _members(self, shard: Shard, boards: Boards, board: Board, key: str, name: str, place: str) -> Seen:
        cursor = 0
        while True:
            cursor, pairs = await shard.command("ZSCAN", key, cursor, "COUNT", CHUNK)
            members = [member for member, _ in pairs]
            user_ids = [board.user_id_of(member) for member in members]
            for member, user_id, here in zip(members, user_ids, await entries_on(shard, user_ids), strict=True):
                seen = [Member(name, place, member)]
                if strays_among(shard, boards, user_id, here, seen) or not shard.partition.holds(user_id):
                    yield self._home(shard, here), user_id, seen
            if not int(cursor):
                return

    def _home(self, shard: Shard, here: Entries) -> str:
        """Return the region to which a player's entries count: of a region that is not here, the first that is."""
        return here.region if here.region in ("", *shard.regions) else shard.regions[0]

    async def _look(
        self, shard: Shard, region: str, members: Mapping[str, Iterable[Member]], user_ids: Sequence[str]
    ) -> Verified:
        """Compare some players. As of cards, who was the same before and after everything else was read is verified."""
        pool = self._databases[region]
        before = await entries_on(shard, user_ids)
        uncommitted = (await queue_state(shard, region)).uncommitted
        records = await records_by_id(pool, user_ids)
        cards = await rows_of(pool, user_ids)
        after = await entries_on(shard, user_ids)
        boards = await self._boards()  # last: one may have been made meanwhile
        differences, changing = [], set()
        for user_id, first, last in zip(user_ids, before, after, strict=True):
            own = rows_among(records.get(user_id, ()), region, boards)
            foreign = {record["region"] for record in records.get(user_id, ())} - set(self._databases.regions_of(pool))
            card = cards.get(user_id)
            has_card = card is not None and card.region == region
            problems = [
                compare_entries(shard, region, user_id, boards, last, own, has_card=has_card),
                *(f"has entries of region {place} in the database of {region}" for place in sorted(foreign)),
                *await self._strays(shard, boards, user_id, last, members[user_id]),
            ]
            problem = "; ".join(one for one in problems if one)
            if problem and (uncommitted or first != last):
                changing.add(user_id)
            elif problem:
                differences.append(Difference(region, user_id, problem))
        return Verified(differences, changing, uncommitted)

    async def _strays(
        self, shard: Shard, boards: Boards, user_id: str, here: Entries, members: Iterable[Member]
    ) -> list[str]:
        strays = strays_among(shard, boards, user_id, here, members)
        if not strays:
            return []
        keys = shard.keys
        there = await shard.pipeline([("ZSCORE", keys.entry_set(one.field, one.region), one.member) for one in strays])
        return [
            f"{title_of(one.field)}: is on the board of {one.region} as {one.member}, as no entry says"
            for one, score in sorted(zip(strays, there, strict=True))
            if score is not None
        ]


def _rows_differ(shard: Shard, region: str, user_id: str, boards: Boards, here: Entries, rows: Sequence[Entry]) -> bool:
    """Whether Redis has another state of one of these rows; it may have entries besides, of other pages."""
    names = {boards.field_of(row) for row in rows}
    same = Entries(here.region, {name: state for name, state in here.states.items() if name in names})
    return compare_entries(shard, region, user_id, boards, same, rows, has_card=False) is not None


async def _row_pages(pool: Pool) -> AsyncGenerator[Sequence[Any], None]:
    async def after(last: Any) -> Sequence[Any]:
        place = (last["user_id"], last["board_id"], last["board_window"]) if last else ("", 0, "")
        return await fetched(pool.fetch(sql.load("page_entries_by_player"), *place, PAGE, timeout=PAGE_TIMEOUT_SECONDS))

    async with aclosing(ahead(after)) as found:
        async for page in found:
            yield page


async def _scan(shard: Shard, pattern: str) -> AsyncGenerator[list[str], None]:
    cursor = 0
    while True:
        cursor, names = await shard.command("SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_PER_SCAN)
        if names:
            yield names
        if not int(cursor):
            return


def _chunks(user_ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (user_ids[first : first + CHUNK] for first in range(0, len(user_ids), CHUNK))
