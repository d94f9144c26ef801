"""Rebuild a Redis that is empty, new or older than Postgres, and set its ready marker when it is complete."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

import asyncpg

from leaderboard_core.backoff import Backoff, Pauses
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool, RegionDatabases
from leaderboard_core.redis.queues import queue_state
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_core.telemetry.metrics import REBUILD_EXPECTED, REBUILD_PLAYERS, REBUILD_RUNNING, REBUILDS

log = logging.getLogger(__name__)

PAGE = 5_000
PLAYERS_PER_CALL = 250
LOCK_SECONDS = 30
BACKOFF = Backoff(first=0.1, most=2.0, jitter=0.5)
PAGE_TIMEOUT_SECONDS = 120
CLOCK_MARGIN_SECONDS = 60
"""How far the clock of a Redis may have stepped back without a lost row being overlooked."""

OnPage = Callable[[str, int], None]


class RebuildInterrupted(Exception):
    """The rebuild could not be completed and must be tried again; the text says why."""


async def rebuild(
    shard: Shard, databases: RegionDatabases, on_page: OnPage | None = None, *, whole: bool = False
) -> int:
    """Fill `shard` from the databases of its regions and set its ready marker; returns the players read.

    Of a region that an earlier incarnation of this Redis held completely only the rows that are newer than its
    last write are read (all of them with `whole`): what Redis lost is the end of its history. One rebuild
    at a time per shard: the lock is renewed with every page, so that a dead holder's lock ends. Nothing
    newer in Redis is overwritten, and no reader sees the boards before the end.
    Raises Unavailable (Redis) or RebuildInterrupted.
    """
    nonce, players = secrets.token_hex(8), 0
    if not await _take_lock(shard, nonce):
        raise RebuildInterrupted("another process is rebuilding")
    try:
        run_id = await shard.run_id()
        held = await _regions_held(shard)
        for region in shard.regions:
            since = await _last_write(shard, region) if region in held and not whole else 0
            REBUILD_PLAYERS.labels(region).set(0)
            REBUILD_EXPECTED.labels(region).set(0 if since else await _estimate(databases[region]))
            async with aclosing(pages(databases[region], since)) as found:
                async for page in found:
                    await _renew_lock(shard, nonce)
                    await restore(shard, region, page)
                    players += len(page)
                    REBUILD_PLAYERS.labels(region).inc(len(page))
                    if on_page is not None:
                        on_page(region, len(page))
            # After the rows: what was deleted while they were read is in one of the two.
            async with aclosing(pages(databases[region], since, "page_deletions")) as deletions:
                async for page in deletions:
                    await _renew_lock(shard, nonce)
                    await restore_deletions(shard, region, page)
        for region in held - set(shard.regions):
            await _forget_region(shard, region)
        keys = (shard.keys.ready, shard.keys.rebuild_lock)
        if not await shard.run("mark_ready", keys, (run_id, shard.ready_value(run_id), nonce)):
            raise RebuildInterrupted("redis was restarted or emptied meanwhile, or the lock was lost")
    finally:
        await _release_lock(shard, nonce)
    return players


async def _regions_held(shard: Shard) -> set[str]:
    """Read which regions this Redis held completely, in this incarnation or the one before."""
    ready: str | None = await shard.command("GET", shard.keys.ready)
    _, _, regions = (ready or "").partition(" ")
    return set(regions.split(",")) - {""}


async def _estimate(pool: Pool) -> int:
    """Estimate the players in Postgres, without counting; 0 before its first ANALYZE."""
    try:
        return int(await pool.fetchval(sql.load("estimate_players")) or 0)
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        raise RebuildInterrupted(describe(error)) from error


async def _last_write(shard: Shard, region: str) -> int:
    """Read the time (µs) of the last write into a region that this Redis knows of, less a margin; 0 if none."""
    at: str | None = await shard.command("HGET", shard.keys.region_bucket(region), "at")
    return max(0, int(at) - CLOCK_MARGIN_SECONDS * 1_000_000) if at else 0


async def pages(pool: Pool, since: int, statement: str = "page_players") -> AsyncGenerator[Sequence[Any], None]:
    """Yield keyset pages of the rows changed after `since` (µs); the next one is fetched while one is worked on."""
    following = asyncio.create_task(_page(pool, statement, "", since))
    try:
        while page := await following:
            following = asyncio.create_task(_page(pool, statement, page[-1]["user_id"], since))
            yield page
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _page(pool: Pool, statement: str, last: str, since: int) -> Sequence[Any]:
    try:
        page: list[asyncpg.Record] = await pool.fetch(
            sql.load(statement), last, PAGE, since, timeout=PAGE_TIMEOUT_SECONDS
        )
    except (*CONNECTION_ERRORS, asyncpg.UndefinedTableError) as error:
        raise RebuildInterrupted(describe(error)) from error
    return page


async def restore(shard: Shard, region: str, page: Sequence[Any]) -> None:
    """Restore rows as `page_players` gives them to Redis, where it has nothing newer. Raises Unavailable."""
    keys, calls = shard.keys, []
    for first in range(0, len(page), PLAYERS_PER_CALL):
        players = (
            f"{user_id}\0{name}\0{score}\0{micros}\0{'1' if protected else '0'}"
            for user_id, name, _, score, micros, protected in page[first : first + PLAYERS_PER_CALL]
        )
        boards = (keys.board(region), keys.board(GLOBAL), keys.any_tombstone)
        calls.append(shard.run("restore_players", boards, (keys.user(""), region, keys.tombstone(""), *players)))
    await asyncio.gather(*calls)


async def restore_deletions(shard: Shard, region: str, page: Sequence[Any]) -> None:
    """Remove players of deletions as `page_deletions` gives them, where Redis is older. Raises Unavailable."""
    keys = shard.keys
    boards = (keys.board(region), keys.board(GLOBAL), keys.any_tombstone)
    for first in range(0, len(page), PLAYERS_PER_CALL):
        deletions = (
            f"{user_id}\0{micros}\0{until}" for user_id, micros, until in page[first : first + PLAYERS_PER_CALL]
        )
        await shard.run("restore_deletions", boards, (keys.user(""), region, keys.tombstone(""), *deletions))


async def restore_by_id(shard: Shard, region: str, pool: Pool, user_ids: Sequence[str]) -> None:
    """Restore some players to Redis from Postgres, if it is newer. Raises Unavailable or asyncpg's errors."""
    await restore(shard, region, await pool.fetch(sql.load("players_by_id"), user_ids))
    await restore_deletions(shard, region, await pool.fetch(sql.load("deletions_by_id"), user_ids))


async def _forget_region(shard: Shard, region: str) -> None:
    """Remove the players of a region that has moved to another Redis from this one's GLOBAL board."""
    waiting = await queue_state(shard, region)
    if waiting.uncommitted:
        raise RebuildInterrupted(
            f"{waiting.uncommitted} events of region {region} wait on {shard.name}, which is not "
            f"its Redis any more: set REDIS_URL_{region} back until `leaderboard check-queue` shows 0, then move it"
        )
    keys = shard.keys
    boards = (keys.board(region), keys.board(GLOBAL))
    while await shard.run("forget_players", boards, (keys.user(""), region, PLAYERS_PER_CALL)):
        continue
    log.warning("a region that has moved away was forgotten", extra={"region": region, "shard": shard.name})


async def _take_lock(shard: Shard, nonce: str) -> bool:
    return bool(await shard.command("SET", shard.keys.rebuild_lock, nonce, "NX", "EX", LOCK_SECONDS))


async def _renew_lock(shard: Shard, nonce: str) -> None:
    held = await shard.command("GET", shard.keys.rebuild_lock) == nonce
    if not held or not await shard.command("EXPIRE", shard.keys.rebuild_lock, LOCK_SECONDS):
        raise RebuildInterrupted("the lock was lost")


async def _release_lock(shard: Shard, nonce: str) -> None:
    try:
        await shard.run("release_claim", (shard.keys.rebuild_lock,), (nonce,))
    except Unavailable:
        log.warning("the rebuild lock could not be given back and ends by itself", extra={"shard": shard.name})


class Rebuilder:
    """Runs rebuilds in the background, one per shard, until each is complete.

    `batch_locks` are those of the process's own consumers of each shard.
    """

    def __init__(self, databases: RegionDatabases, stop: asyncio.Event) -> None:
        self.batch_locks: dict[Shard, list[asyncio.Lock]] = {}
        self._databases = databases
        self._stop = stop
        self._running: dict[Shard, asyncio.Task[None]] = {}

    def start(self, shard: Shard) -> None:
        """Rebuild `shard` unless that is under way."""
        running = self._running.get(shard)
        if running is None or running.done():
            self._running[shard] = asyncio.create_task(self._watched(shard))

    async def _watched(self, shard: Shard) -> None:
        with REBUILD_RUNNING.labels(shard.name).track_inprogress():
            await self._until_done(shard)

    async def _until_done(self, shard: Shard) -> None:
        pauses = Pauses(BACKOFF, self._stop)
        log.warning("redis may not hold all players: reading postgres", extra={"shard": shard.name})
        while not self._stop.is_set():
            try:
                if await shard.is_ready():
                    return
                async with AsyncExitStack() as no_batch_in_flight:
                    # A batch that a consumer of ours has in flight is newer than the rows that we would read.
                    for lock in self.batch_locks.get(shard, ()):
                        await no_batch_in_flight.enter_async_context(lock)
                    players = await rebuild(shard, self._databases, self._log_progress)
            except (RebuildInterrupted, Unavailable) as error:
                REBUILDS.labels(shard.name, "interrupted").inc()
                log.warning("rebuild waits: %s", error, extra={"shard": shard.name})
                await pauses.pause()
            else:
                REBUILDS.labels(shard.name, "complete").inc()
                log.info("rebuild complete", extra={"shard": shard.name, "players": players})
                return

    @staticmethod
    def _log_progress(region: str, players: int) -> None:
        log.info("rebuild page", extra={"region": region, "players": players})

    async def close(self) -> None:
        """Stop what runs; the ready marker is set only at the end, so a half rebuild is never served."""
        for task in self._running.values():
            task.cancel()
        for result in await asyncio.gather(*self._running.values(), return_exceptions=True):
            if isinstance(result, Exception):
                raise result
