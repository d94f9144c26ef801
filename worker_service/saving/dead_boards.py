"""Leave entries of boards that are gone out of what is saved."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Set
from dataclasses import replace

import asyncpg

from leaderboard_core.entries import Entry
from leaderboard_core.errors import describe
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool
from leaderboard_core.postgres.dead_boards import dead_among
from leaderboard_core.redis.shard import Shard
from leaderboard_core.telemetry.metrics import ENTRIES_UNKNOWN
from worker_service.recovery.forgetting import forget_fields
from worker_service.saving.batch import Batch

log = logging.getLogger(__name__)

ASK_SECONDS = 1.0
"""How long a board is taken to be there still: rows that come later than their board went are swept."""


class DeadBoards:
    """The boards that are known to be gone, for all consumers of a worker; `pool` is GLOBAL's."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._dead: set[int] = set()
        self._asked_at: dict[int, float] = {}

    async def without(self, batch: Batch, shard: Shard, region: str) -> Batch:
        """Return a batch without entries of boards that are gone, which are counted. Raises Unavailable.

        While GLOBAL's database cannot say that a board is gone, its entries stay.
        """
        found = {entry.board_id for event in batch.events for entry in event.entries}
        gone = await self.among(found)
        if not gone:
            return batch
        dropped = [entry for event in batch.events for entry in event.entries if entry.board_id in gone]
        ENTRIES_UNKNOWN.labels(region).inc(len(dropped))
        log.warning("entries of boards that are gone were left out", extra={"region": region, "entries": len(dropped)})
        if removed := [entry for entry in dropped if entry.removed]:
            # Neither a set nor a row leads to their fields.
            await forget_fields(shard, [(one.user_id, f"{one.board}.{one.board_id}:{one.window}") for one in removed])
        return replace(batch, events=[replace(one, entries=_kept(one.entries, gone)) for one in batch.events])

    async def among(self, ids: Set[int]) -> Set[int]:
        """Return which of these boards are gone, as far as GLOBAL's database can say it."""
        await self._ask(ids)
        return self._dead & ids

    async def _ask(self, ids: Iterable[int]) -> None:
        now = asyncio.get_running_loop().time()
        unsure = [
            one for one in ids if one and one not in self._dead and now - self._asked_at.get(one, 0) > ASK_SECONDS
        ]
        if not unsure:
            return
        try:
            dead = await dead_among(self._pool, unsure)
        except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
            log.warning("whether boards are gone is not known: %s", describe(error))
            return
        self._dead |= dead
        self._asked_at |= dict.fromkeys(unsure, now)
        for one in dead:
            del self._asked_at[one]


def _kept(entries: Iterable[Entry], gone: Set[int]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if entry.board_id not in gone)
