"""Restore players and deletions from pages of Postgres to a Redis, where it has nothing newer."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from operator import itemgetter
from typing import Any

import asyncpg

from leaderboard_core.errors import describe
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.changes import page_changed_players
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool
from leaderboard_core.redis import deletions
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL

log = logging.getLogger(__name__)

PAGE = 5_000
"""Rows that are read at once."""
PLAYERS_PER_CALL = 25
"""Redis holds what a script has written until the script ends, for its file and its replicas. That of 250 players does
not stay in the processor's caches, and each of them takes 1.5 times as long."""
PAGE_TIMEOUT_SECONDS = 120


class RebuildInterrupted(Exception):
    """The rebuild could not be completed and must be tried again; the text says why."""


async def player_pages(pool: Pool, since: int = 0, rows: int = PAGE) -> AsyncGenerator[Sequence[Any], None]:
    """Yield the rows of a database, or those changed after `since` (µs), so many a page. Raises RebuildInterrupted."""

    async def all_after(last: Any) -> Sequence[Any]:
        words = (last["user_id"] if last else "", rows)
        return await fetched(pool.fetch(sql.load("page_players"), *words, timeout=PAGE_TIMEOUT_SECONDS))

    async def changed_after(last: Any) -> Sequence[Any]:
        place = (last["micros"], last["user_id"]) if last else (since, "")
        return await fetched(page_changed_players(pool, *place, rows=rows, timeout=PAGE_TIMEOUT_SECONDS))

    async with aclosing(ahead(changed_after if since else all_after)) as found:
        async for page in found:
            yield page


async def deletion_pages(pool: Pool, since: int = 0) -> AsyncGenerator[Sequence[Any], None]:
    """Yield the deletions of a database, or those after `since` (µs). Raises RebuildInterrupted."""

    async def after(last: Any) -> Sequence[Any]:
        words = (last["user_id"] if last else "", PAGE, since)
        return await fetched(pool.fetch(sql.load("page_deletions"), *words, timeout=PAGE_TIMEOUT_SECONDS))

    async with aclosing(ahead(after)) as found:
        async for page in found:
            yield page


async def ahead(after: Callable[[Any], Coroutine[Any, Any, Sequence[Any]]]) -> AsyncGenerator[Sequence[Any], None]:
    """Yield pages until one is empty; the next one is fetched while one is worked on."""
    following = asyncio.create_task(after(None))
    try:
        while page := await following:
            following = asyncio.create_task(after(page[-1]))
            yield page
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def fetched(fetching: Awaitable[Sequence[Any]]) -> Sequence[Any]:
    """Return rows; raises RebuildInterrupted when Postgres does not give them."""
    try:
        return await fetching
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        raise RebuildInterrupted(describe(error)) from error


async def own_pages(shard: Shard, pages: AsyncIterable[Sequence[Any]]) -> AsyncGenerator[Sequence[Any], None]:
    """Yield of each page the rows of the players that the shard holds."""
    async for page in pages:
        yield _own(shard, page)


def _own(shard: Shard, page: Sequence[Any]) -> list[Any]:
    return [row for row in page if shard.partition.holds(row["user_id"])]


async def restore_pages(shard: Shard, region: str, pages: AsyncIterable[Sequence[Any]]) -> AsyncGenerator[int, None]:
    """Restore pages of the shard's players, and yield how many there were of each once they are in Redis.

    While Redis works on one the next is prepared. Raises Unavailable, and what the pages raise.
    """
    under_way: deque[tuple[int, asyncio.Task[None]]] = deque()
    try:
        async for page in pages:
            under_way.append((len(page), asyncio.create_task(_restore_own(shard, region, page))))
            if len(under_way) > 1:
                yield await _first_of(under_way)
        while under_way:
            yield await _first_of(under_way)
    finally:
        left = [task for _, task in under_way]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _first_of(under_way: deque[tuple[int, asyncio.Task[None]]]) -> int:
    number, task = under_way[0]
    await task
    under_way.popleft()
    return number


async def restore(shard: Shard, region: str, page: Sequence[Any]) -> None:
    """Restore the shard's rows of a region, as `page_players` gives them, where Redis has nothing newer.

    Raises Unavailable.
    """
    await _restore_own(shard, region, _own(shard, page))


async def _restore_own(shard: Shard, region: str, page: Sequence[Any]) -> None:
    keys, calls = shard.keys, []
    boards = (keys.board(region), keys.board(GLOBAL), keys.any_tombstone)
    page = [row for row in page if row["region"] == region]
    # Places in a set of millions are far from each other in memory, and most of an insertion is the way there.
    page.sort(key=itemgetter("score"))
    for first in range(0, len(page), PLAYERS_PER_CALL):
        part = page[first : first + PLAYERS_PER_CALL]
        players = (
            f"{name}\0{score}\0{micros}\0{'1' if protected else '0'}\0{deleted_micros}\0{last_key}\0{credential}"
            f"\0{submits}\0{metadata}"
            for _, name, _, score, micros, protected, last_key, credential, submits, metadata, deleted_micros in part
        )
        written = (*boards, *(keys.user(row["user_id"]) for row in part))
        calls.append(shard.run("restore_players", written, (keys.user(""), region, keys.tombstone(""), *players)))
    for moved in await asyncio.gather(*calls):
        for user_id, other, which in zip(moved[::3], moved[1::3], moved[2::3], strict=True):
            log.error(
                "a player has rows in two regions: `leaderboard verify --repair` mends it",
                extra={"user_id": user_id, "region": region, "other": other},
            )
            if which == "newer":
                await shard.command("ZREM", keys.board(other), user_id)


async def restore_deletions(shard: Shard, region: str, page: Sequence[Any]) -> None:
    """Remove the shard's players of deletions, as `page_deletions` gives them, where Redis is older.

    Raises Unavailable.
    """
    page = _own(shard, page)
    for first in range(0, len(page), PLAYERS_PER_CALL):
        await deletions.restore_deletions(
            shard, region, [deletions.DeletedPlayer(*row) for row in page[first : first + PLAYERS_PER_CALL]]
        )
