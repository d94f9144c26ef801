"""Put off rewrites of Redis' append-only file while a rebuild fills it: each would write again all that is there."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from leaderboard_core.errors import Unavailable
from leaderboard_core.redis.shard import Shard

log = logging.getLogger(__name__)

_PERCENTAGE = "auto-aof-rewrite-percentage"
"""By how much the file must have grown since the last rewrite; 0 is never."""


@asynccontextmanager
async def without_rewrites(shard: Shard) -> AsyncIterator[None]:
    """Let Redis rewrite its file once after the block rather than at every doubling within it.

    What was set before is kept in Redis, next to the lock, where the next rebuild finds it if this one is killed. A
    Redis whose configuration is not ours to read or change stays as it is. Call it under the rebuild's lock. Raises
    Unavailable.
    """
    before = await _put_off(shard)
    try:
        yield
    finally:
        if before is not None:
            await _resume(shard, before)


async def _put_off(shard: Shard) -> str | None:
    """Set the percentage to 0; return what to set in the end, None when nothing was changed."""
    kept: str | None = await shard.command("GET", shard.keys.rebuild_rewrites)
    before = kept or await shard.configured(_PERCENTAGE)
    if before in (None, "0"):
        return None
    await shard.command("SET", shard.keys.rebuild_rewrites, before)
    return before if await shard.configure(_PERCENTAGE, "0") else None


async def _resume(shard: Shard, before: str) -> None:
    try:
        await shard.configure(_PERCENTAGE, before)
        await shard.command("DEL", shard.keys.rebuild_rewrites)
    except Unavailable:  # a restart ends what CONFIG has set; else the next rebuild does
        log.warning("rewrites of the append-only file stay off until the next rebuild", extra={"shard": shard.name})
