"""The upsert into one region's Postgres, and the search for an event that Postgres refuses."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from leaderboard_core import sql
from leaderboard_core.events import ScoreEvent
from leaderboard_core.postgres import CONNECTION_ERRORS, Pool, describe
from worker_service.batch import columns

REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
"""Errors that the event itself causes; all others may go away by themselves."""


class PostgresAway(Exception):
    """The batch could not be saved now and may be later."""


async def upsert(pool: Pool, events: Sequence[ScoreEvent]) -> list[tuple[ScoreEvent, str]]:
    """Save events, each user at most once; returns those that Postgres refuses, with its reason.

    A refused statement is split in halves until the culprits are alone, so one bad event costs
    log2(n) statements and holds nobody up. Raises PostgresAway.
    """
    if not events:
        return []
    try:
        await pool.execute(sql.load("upsert_scores"), *columns(events))
    except REFUSALS as error:
        if len(events) == 1:
            return [(events[0], describe(error))]
        middle = len(events) // 2
        return await upsert(pool, events[:middle]) + await upsert(pool, events[middle:])
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        raise PostgresAway(describe(error)) from error
    return []
