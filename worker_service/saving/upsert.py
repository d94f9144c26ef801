"""Save a batch in one region's Postgres: deletions, the upsert, and the search for an event that Postgres refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg

from leaderboard_core.errors import describe
from leaderboard_core.events import Deletion, ScoreEvent
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool
from leaderboard_core.postgres.deletions import delete_players
from leaderboard_core.postgres.fencing import Fence, fenced
from worker_service.saving.batch import Batch, columns, entry_columns

REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
"""Errors that the event itself causes; all others may pass."""

EventT = TypeVar("EventT", ScoreEvent, Deletion)


class PostgresUnavailable(Exception):
    """The batch could not be saved now and may be later."""


async def save(
    pool: Pool, batch: Batch, fence: Fence, *, old_workers: bool = False
) -> list[tuple[ScoreEvent | Deletion, str]]:
    """Save a batch; returns the events that Postgres refuses, with its reason.

    Deletions come first: a player who is in the upsert too was made anew. Each of the two is whole by itself, and
    done again with the batch if the process ends in between. `old_workers` are those of the version before beside this
    one. Raises PostgresUnavailable, or Fenced when the batch was taken under an earlier admission.
    """

    async def delete(pool: Pool, deletions: Sequence[Deletion]) -> None:
        await delete_players(pool, deletions, fence, old_workers=old_workers)

    async def upsert(pool: Pool, events: Sequence[ScoreEvent]) -> None:
        cards = [event for event in events if event.score is not None]
        entries = entry_columns(events)
        async with fenced(pool, fence) as connection:
            if cards:
                await connection.execute(sql.load("upsert_scores"), *columns(cards))
            if counted := [event for event in cards if event.submits]:
                numbers = zip(*((event.user_id, event.submits, event.timestamp) for event in counted), strict=True)
                await connection.execute(sql.load("raise_submits"), *map(list, numbers))
            if entries:
                await connection.execute(sql.load("upsert_entries"), *entries)

    deleted = await _apply(pool, batch.deletions, delete)
    return [*deleted, *await _apply(pool, batch.events, upsert)]


async def _apply(
    pool: Pool, events: Sequence[EventT], statement: Callable[[Pool, Sequence[EventT]], Awaitable[None]]
) -> list[tuple[EventT, str]]:
    """Run a statement for events, each user at most once.

    A refused statement is split in halves until the culprits are alone, so one bad event costs
    log2(n) statements and delays no other. Raises PostgresUnavailable, and what the statement raises of its own.
    """
    if not events:
        return []
    try:
        await statement(pool, events)
    except REFUSALS as error:
        if len(events) == 1:
            return [(events[0], describe(error))]
        middle = len(events) // 2
        return await _apply(pool, events[:middle], statement) + await _apply(pool, events[middle:], statement)
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        raise PostgresUnavailable(describe(error)) from error
    return []
