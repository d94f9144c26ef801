"""Repair players who are on a board of Redis without a hash, which eviction and operators' hands can bring about."""

from __future__ import annotations

import logging
from functools import partial

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.queues import queue_state
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_core.telemetry.metrics import PLAYERS_REPAIRED
from worker_service.recovery.by_id import restore_entries_by_id
from worker_service.recovery.definitions import known_boards
from worker_service.recovery.reconcile import reconcile, rows_of

log = logging.getLogger(__name__)

PLAYERS_PER_BEAT = 100


async def repair_incomplete(shard: Shard, databases: RegionDatabases) -> int:
    """Restore the players whom services have reported, from Postgres; returns how many.

    A player has to wait until Postgres has every event from before the report: the newest score may be in one of them.
    Its entries come back too. Who is not in Postgres either goes from the boards. Raises Unavailable,
    RebuildInterrupted, and asyncpg's errors.
    """
    key = shard.keys.incomplete
    reported = await shard.command("ZRANGE", key, 0, PLAYERS_PER_BEAT - 1, "WITHSCORES")
    if not reported:
        return 0
    read_boards = partial(known_boards, shard, databases[GLOBAL], ())
    saved_until = await _saved_until(shard)
    ready = [user_id for user_id, seen_at in reported if float(seen_at) < saved_until]
    for user_id in ready:
        outcomes = []
        for region in shard.regions:
            row = (await rows_of(databases[region], [user_id])).get(user_id)
            if row is not None:
                outcomes.append(await reconcile(shard, databases, region, user_id))
                await restore_entries_by_id(shard, databases[region], region, [user_id], read_boards)
        if not outcomes:
            outcomes = [await reconcile(shard, databases, region, user_id) for region in shard.regions]
        await shard.command("ZREM", key, user_id)
        PLAYERS_REPAIRED.labels(shard.name).inc()
        log.warning(
            "a player without a hash was repaired",
            extra={"shard": shard.name, "user_id": user_id, "outcome": outcomes[0]},
        )
    return len(ready)


async def _saved_until(shard: Shard) -> float:
    """The time (µs) of the oldest event that Postgres may lack; now when there is none, 0 when it cannot be told."""
    now = await shard.now()
    until = float(now)
    for region in shard.regions:
        queue = await queue_state(shard, region)
        if queue.uncommitted:
            until = min(until, now - queue.lag_seconds * 1_000_000 if queue.lag_seconds else 0.0)
    return until
