"""Rebuilds a Redis that has lost its data from Postgres, page by page, and marks it ready when complete."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from leaderboard_core import sql
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres import CONNECTION_ERRORS, Pool, RegionDatabases, describe
from leaderboard_core.shards import Shard
from worker_service.backoff import Backoff

log = logging.getLogger(__name__)

PAGE = 5_000
PLAYERS_PER_CALL = 250
LOCK_SECONDS = 30


class RebuildInterrupted(Exception):
    """Postgres went away, or another process holds or has taken the lock; the rebuild must be tried again."""


async def rebuild(shard: Shard, databases: RegionDatabases, on_page: Callable[[str, int], None] | None = None) -> int:
    """Fill `shard` from the databases of its regions and mark it ready; returns the players read.

    One rebuild at a time per shard: the lock is renewed with every page, so that a dead holder's lock
    ends. Nothing newer in Redis is overwritten, and no reader sees the boards before the end.
    Raises Unavailable (Redis) or RebuildInterrupted.
    """
    nonce, players = secrets.token_hex(8), 0
    if not await _set_lock(shard, nonce, only_if_free=True):
        raise RebuildInterrupted("another process is rebuilding")
    try:
        for region in shard.regions:
            last = ""
            while page := await _page(databases[region], last):
                if not await _set_lock(shard, nonce, only_if_free=False):
                    raise RebuildInterrupted("the lock was lost")
                await _restore(shard, region, page)
                last = page[-1]["user_id"]
                players += len(page)
                if on_page is not None:
                    on_page(region, len(page))
        await shard.command("SET", shard.keys.ready, "1")
    finally:
        await _release_lock(shard, nonce)
    return players


async def _page(pool: Pool, last: str) -> Sequence[Any]:
    try:
        page: list[asyncpg.Record] = await pool.fetch(sql.load("page_players"), last, PAGE)
    except (*CONNECTION_ERRORS, asyncpg.UndefinedTableError) as error:
        raise RebuildInterrupted(describe(error)) from error
    return page


async def _restore(shard: Shard, region: str, page: Sequence[Any]) -> None:
    keys = shard.keys
    for first in range(0, len(page), PLAYERS_PER_CALL):
        args: list[str | int] = [keys.user(""), region]
        for row in page[first : first + PLAYERS_PER_CALL]:
            args += (row["user_id"], row["name"], row["score"], row["micros"], "1" if row["protected"] else "0")
        await shard.run("restore_players", (keys.board(region), keys.board("GLOBAL")), args)


async def _set_lock(shard: Shard, nonce: str, *, only_if_free: bool) -> bool:
    key = shard.keys.rebuild_lock
    if only_if_free:
        return bool(await shard.command("SET", key, nonce, "NX", "EX", LOCK_SECONDS))
    if await shard.command("GET", key) != nonce:
        return False
    return bool(await shard.command("EXPIRE", key, LOCK_SECONDS))


async def _release_lock(shard: Shard, nonce: str) -> None:
    try:
        await shard.run("release_claim", (shard.keys.rebuild_lock,), (nonce,))
    except Unavailable:
        log.warning("the rebuild lock could not be given back and ends by itself", extra={"shard": shard.name})


class Rebuilder:
    """Runs rebuilds in the background, one per shard, until each is complete."""

    def __init__(self, databases: RegionDatabases, stop: asyncio.Event) -> None:
        self._databases = databases
        self._stop = stop
        self._running: dict[Shard, asyncio.Task[None]] = {}

    def start(self, shard: Shard) -> None:
        """Rebuild `shard` unless that is under way."""
        running = self._running.get(shard)
        if running is None or running.done():
            self._running[shard] = asyncio.create_task(self._until_done(shard))

    async def _until_done(self, shard: Shard) -> None:
        backoff = Backoff(self._stop, most=2)
        log.warning("redis does not hold the boards: rebuilding from postgres", extra={"shard": shard.name})
        while not self._stop.is_set():
            try:
                if await shard.command("EXISTS", shard.keys.ready):
                    return
                players = await rebuild(shard, self._databases)
            except (RebuildInterrupted, Unavailable) as error:
                log.warning("rebuild waits: %s", error, extra={"shard": shard.name})
                await backoff.pause()
            else:
                log.info("rebuild complete", extra={"shard": shard.name, "players": players})
                return

    async def close(self) -> None:
        """Stop what runs; the ready marker is set only at the end, so a half rebuild is never served."""
        for task in self._running.values():
            task.cancel()
        for result in await asyncio.gather(*self._running.values(), return_exceptions=True):
            if isinstance(result, Exception):
                raise result
