"""Compare Redis with Postgres, player by player, and reconcile what differs from the newer side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.queues import queue_state
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from worker_service.recovery.differences import CHUNK, MOST_DIFFERENCES, STRAY, Difference, Report, Verified, recheck
from worker_service.recovery.duplicates import rows_elsewhere, settle, settle_apart
from worker_service.recovery.forgetting import forget_stray
from worker_service.recovery.reconcile import Row, deletions_of, reconcile, rows_of
from worker_service.recovery.restore import player_pages
from worker_service.recovery.verify_entries import EntryVerifier

OnPlayers = Callable[[str, int], None]


class RedisState(NamedTuple):
    """A player in Redis, as texts; '' where there is none."""

    region: str
    name: str
    score: str
    updated_at: str
    on_region: str
    on_global: str
    protected: str
    since: str
    credential: str
    submits: str
    metadata: str


def compare(
    region: str, row: Row | None, state: RedisState, deleted_at: int = 0, elsewhere: Container[int] = ()
) -> str | None:
    """Say what is wrong with a player, or None.

    `deleted_at` is when Postgres deleted one of that user_id in this region (µs), 0 if never, and `elsewhere` when in
    others.
    """
    if not state.region:
        if row is not None:
            return "is missing in Redis"
        return "is on a board and nowhere else" if state.on_region or state.on_global else None
    if state.region != region:
        return f"has region {state.region} in Redis"
    problems = []
    for board, score in ((region, state.on_region), (GLOBAL, state.on_global)):
        if not score or int(float(score)) != int(state.score):
            problems.append(f"score {state.score} in the hash, {score or 'none'} on the board of {board}")
    if row is None:
        was_deleted = deleted_at >= int(state.updated_at)
        problems.append("was deleted, and is in Redis still" if was_deleted else "is missing in Postgres")
    elif row.region != region:
        problems.append(f"has region {row.region} in the database of {region}")
    else:
        since = state.since or "0"
        if int(since) in elsewhere:  # the predecessor was another region's
            since = str(row.deleted_micros)
        for what, ours, theirs in (
            ("score", state.score, str(row.score)),
            ("name", state.name, row.name),
            ("updated_at", state.updated_at, str(row.micros)),
            ("password", state.protected or "0", "1" if row.protected else "0"),
            ("deletion of a predecessor", since, str(row.deleted_micros)),
            ("submits", state.submits or "0", str(row.submits)),
        ):
            if ours != theirs:
                problems.append(f"{what} {ours} in Redis, {theirs} in Postgres")
        if state.credential != row.credential:
            problems.append("the secret in Redis is not that in Postgres")
        if state.metadata != row.metadata:
            problems.append("the metadata in Redis is not that in Postgres")
    return "; ".join(problems) or None


class Verifier:
    """Streams over every region once from each side, then verifies the candidates: players that seemed to differ.

    Under traffic a player may differ for the moment that its event takes: only what still differs
    when the queue is empty is a difference.
    """

    def __init__(self, shard_map: ShardMap, databases: RegionDatabases, *, wait_seconds: float = 10) -> None:
        self._map = shard_map
        self._databases = databases
        self._wait_seconds = wait_seconds

    async def verify(
        self, on_players: OnPlayers | None = None, *, repair: bool = False, drop_older: bool = False
    ) -> Report:
        """Compare everything; with `repair` reconcile what differs, with `drop_older` also players with two rows.

        Raises Unavailable or Postgres' errors.
        """
        report = Report()
        for shard, region in self._map.queues():
            candidates = await self._candidates(shard, region, report, on_players)
            look = partial(self._verify_chunk, shard, region)
            differences = await recheck(candidates, look, report, self._wait_seconds)
            report.differences += differences
            for one in differences if repair else ():
                if one.problem == STRAY:
                    await forget_stray(shard, region, one.user_id)
                    report.repaired.append((one, "removed"))
                    continue
                mended, outcome = await self._mend(shard, region, one.user_id, drop_older=drop_older)
                (report.repaired if mended else report.unrepaired).append((one, outcome))
        await EntryVerifier(self._map, self._databases, self._wait_seconds).verify(report, repair=repair)
        return report

    async def _mend(self, shard: Shard, region: str, user_id: str, *, drop_older: bool) -> tuple[bool, str]:
        if other := (await rows_elsewhere(self._map, self._databases, region, [user_id])).get(user_id):
            return await settle_apart(self._map, self._databases, region, other, drop_older=drop_older)
        outcome = await reconcile(shard, self._databases, region, user_id)
        if outcome == "elsewhere":
            return await settle(shard, self._databases, region, user_id, drop_older=drop_older)
        return True, outcome

    async def _candidates(self, shard: Shard, region: str, report: Report, on_players: OnPlayers | None) -> set[str]:
        pool, candidates = self._databases[region], set[str]()
        async with aclosing(player_pages(pool)) as all_pages:
            async for page in all_pages:
                shared = set(self._databases.regions_of(pool)) - {region}
                rows = [
                    Row(*record)
                    for record in page
                    if record["region"] not in shared and shard.partition.holds(record["user_id"])
                ]
                candidates |= {found.user_id for found in await _compare_rows(shard, region, rows)}
                user_ids = [row.user_id for row in rows]
                candidates |= set(await rows_elsewhere(self._map, self._databases, region, user_ids))
                report.players += len(rows)
                if on_players is not None:
                    on_players(region, len(rows))
                if len(candidates) > MOST_DIFFERENCES:
                    report.truncated = True
                    return candidates
        async for user_ids in self._members(shard, region):
            known = await rows_of(pool, user_ids)
            candidates |= {
                user_id for user_id in user_ids if user_id not in known or not shard.partition.holds(user_id)
            }
        return candidates

    async def _members(self, shard: Shard, region: str) -> AsyncIterator[list[str]]:
        """Yield the players on the boards of a region, page by page; those without a hash count to the first region."""
        if region != GLOBAL:
            async for user_ids in _scan(shard, shard.keys.board(region)):
                yield user_ids
        # The GLOBAL board has everybody of the shard: here those that no other region's board accounts for.
        homes = {GLOBAL} if region == GLOBAL else set[str]()
        if region == shard.regions[0]:
            homes.add("")
        if homes:
            async for user_ids in _scan(shard, shard.keys.board(GLOBAL)):
                states = await _redis_states(shard, region, user_ids)
                yield [user_id for user_id, one in zip(user_ids, states, strict=True) if one.region in homes]

    async def _verify_chunk(self, shard: Shard, region: str, user_ids: Sequence[str]) -> Verified:
        """A player is verified when its hash was the same before and after everything else was read, and no
        event was uncommitted after the first read: then the event of that state was committed before its
        row was read, and a row that does not match it is wrong.
        """
        before = await _redis_states(shard, region, user_ids)
        uncommitted = (await queue_state(shard, region)).uncommitted
        rows = await rows_of(self._databases[region], user_ids)
        gone = await deletions_of(self._databases[region], user_ids)
        elsewhere = [await deletions_of(pool, user_ids) for pool in self._databases.distinct()]
        second = await rows_elsewhere(self._map, self._databases, region, user_ids)
        after = await _redis_states(shard, region, user_ids)
        differences, changing = [], set()
        for user_id, first, last in zip(user_ids, before, after, strict=True):
            others = {found[user_id] for found in elsewhere if user_id in found}
            problem = compare(region, rows.get(user_id), last, gone.get(user_id, 0), others)
            if (other := second.get(user_id)) and (row := rows.get(user_id)) and _order(row) < _order(other):
                problem = f"has a newer row in {other.region}"
            if not shard.partition.holds(user_id):
                problem = STRAY if any(last) else None
            if problem and (uncommitted or first != last):
                changing.add(user_id)
            elif problem:
                differences.append(Difference(region, user_id, problem))
        return Verified(differences, changing, uncommitted)


def _order(row: Row) -> tuple[int, str]:
    return row.micros, row.region


async def _scan(shard: Shard, board: str) -> AsyncIterator[list[str]]:
    cursor = 0
    while True:
        cursor, pairs = await shard.command("ZSCAN", board, cursor, "COUNT", CHUNK)
        yield [member for member, _ in pairs]
        if not int(cursor):
            return


async def _redis_states(shard: Shard, region: str, user_ids: Sequence[str]) -> list[RedisState]:
    keys = shard.keys
    boards = (keys.board(region), keys.board(GLOBAL))
    if not user_ids:
        return []
    flat: list[str] = await shard.run("inspect_players", boards, (keys.user(""), *user_ids))
    width = len(RedisState._fields)
    return [RedisState(*flat[first : first + width]) for first in range(0, len(flat), width)]


async def _compare_rows(shard: Shard, region: str, rows: Sequence[Row]) -> list[Difference]:
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    answers = await asyncio.gather(*(_redis_states(shard, region, [row.user_id for row in chunk]) for chunk in chunks))
    pairs = (
        (row, state)
        for chunk, answer in zip(chunks, answers, strict=True)
        for row, state in zip(chunk, answer, strict=True)
    )
    return _differences(region, ((row.user_id, row, state) for row, state in pairs))


def _differences(region: str, players: Iterable[tuple[str, Row | None, Any]]) -> list[Difference]:
    found = ((user_id, compare(region, row, state)) for user_id, row, state in players)
    return [Difference(region, user_id, problem) for user_id, problem in found if problem]
