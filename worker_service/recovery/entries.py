"""Restore entries of boards from pages of Postgres to a Redis, merged with what it has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from operator import itemgetter
from typing import Any

from leaderboard_core.boards import Board, Place
from leaderboard_core.entries import Entry, encode
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool
from leaderboard_core.redis.shard import Shard
from leaderboard_core.telemetry.metrics import ENTRIES_UNKNOWN
from worker_service.recovery.restore import PAGE, PAGE_TIMEOUT_SECONDS, ahead, fetched

log = logging.getLogger(__name__)

ENTRIES_PER_CALL = 200

Boards = Mapping[int, Board]
"""The boards that there are, by id."""


async def entry_pages(pool: Pool, since: int = 0) -> AsyncGenerator[Sequence[Any], None]:
    """Yield the rows of entries of a database, or those changed after `since` (µs). Raises RebuildInterrupted."""

    async def after(last: Any) -> Sequence[Any]:
        place = (
            (last["micros"], last["user_id"], last["board_id"], last["board_window"]) if last else (since, "", 0, "")
        )
        return await fetched(pool.fetch(sql.load("page_entries"), *place, PAGE, timeout=PAGE_TIMEOUT_SECONDS))

    async with aclosing(ahead(after)) as found:
        async for page in found:
            yield page


async def restore_entries(shard: Shard, region: str, page: Sequence[Any], boards: Boards) -> None:
    """Restore the shard's entries of a region, as `page_entries` gives them, after their players.

    Those of boards that are not among `boards` are left out and counted. Raises Unavailable.
    """
    page = [row for row in page if row["region"] == region and shard.partition.holds(row["user_id"])]
    known = [row for row in page if row["board_id"] in boards]
    if unknown := len(page) - len(known):
        ENTRIES_UNKNOWN.labels(region).inc(unknown)
        log.warning("entries of boards that are gone were left out", extra={"region": region, "entries": unknown})
    known.sort(key=itemgetter("board_id", "key"))  # as players are restored by score
    calls = []
    for first in range(0, len(known), ENTRIES_PER_CALL):
        keys, texts = [], []
        for row in known[first : first + ENTRIES_PER_CALL]:
            place = Place(boards[row["board_id"]], row["board_window"], region)
            keys += [shard.keys.entries(row["user_id"]), shard.keys.user(row["user_id"]), *shard.keys.sets(place)]
            texts.append(f"{place.entry_field}\0{encode(entry_of(row, place.board.name))}")
        calls.append(shard.run("restore_entries", keys, (shard.keys.user(""), region, *texts)))
    await asyncio.gather(*calls)


def entry_of(row: Any, board: str) -> Entry:
    """Read a row of `page_entries`."""
    return Entry(
        user_id=row["user_id"],
        board_id=row["board_id"],
        board=board,
        window=row["board_window"],
        key=row["key"],
        member=row["member"],
        clock=row["micros"],
        submits=row["submits"],
        base_at=row["base_micros"],
        best=row["best"],
        removed=row["removed"],
        metadata=row["metadata"],
        last_key=row["last_key"],
    )
