"""Close every Redis for the time of a restore, and empty it of what was undone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from leaderboard_cli.backup.manifest import BackupProblem
from leaderboard_core.backoff import Backoff
from leaderboard_core.redis.commands import KEY_PATTERNS
from leaderboard_core.redis.queues import queue_state
from leaderboard_core.redis.shard import Shard
from worker_service.recovery.lock import under_lock
from worker_service.recovery.restore import RebuildInterrupted

LOCK_PATIENCE_SECONDS = 30.0
_RETRY = Backoff(first=0.1, most=1.0, jitter=0.5)
_KEYS_PER_CALL = 1_000
_TIME = re.compile(r"[0-9]{1,18}")
_KEPT = ("workers", "workers:*")
"""What processes that run say of themselves."""

Result = TypeVar("Result")
Locks: TypeAlias = Mapping[Shard, str]
"""The nonce of each shard's lock."""


async def holds_anything(shard: Shard) -> bool:
    """Whether players or events are on this Redis. Raises Unavailable."""
    for region in shard.regions:
        state = await queue_state(shard, region)
        if state.uncommitted or state.dead or await shard.command("ZCARD", shard.keys.board(region)):
            return True
    return False


async def may_be_scanned(shard: Shard, *, keep_redis: bool) -> None:
    """Try the one command that nothing else uses, if it is needed. Raises Unavailable where the user may not run it."""
    if not keep_redis or await shard.command("EXISTS", shard.keys.any_tombstone):
        await shard.command("SCAN", 0, "COUNT", 1)


async def while_locked(
    shards: Sequence[Shard], work: Callable[[Locks], Awaitable[Result]], taken: Locks | None = None
) -> Result:
    """Run `work`, which is given the locks, while no worker can admit any of the shards.

    Raises BackupProblem when one is being rebuilt, and RebuildInterrupted when a lock is lost.
    """
    locks = taken or {}
    if not shards:
        return await work(locks)
    shard, begun = shards[0], False
    loop = asyncio.get_running_loop()
    deadline, attempt = loop.time() + LOCK_PATIENCE_SECONDS, 0

    async def rest(lock: str) -> Result:
        nonlocal begun
        begun = True
        return await while_locked(shards[1:], work, {**locks, shard: lock})

    while True:
        try:
            return await under_lock(shard, rest)
        except RebuildInterrupted as problem:
            if begun:
                raise
            if loop.time() > deadline:
                raise BackupProblem(
                    f"{shard.name}: {problem}. Nothing was changed; try again when it is done."
                ) from None
        # A worker's rebuild ends as soon as it finds that a restore has begun.
        await asyncio.sleep(_RETRY.pause(attempt))
        attempt += 1


async def close(shard: Shard) -> None:
    """Close the shard under its lock: from now on it takes no write. Raises Unavailable."""
    state = await shard.look()
    if state.text:
        # Others leave an admission alone while the lock is held. It is ours: a key that never exists stands for it.
        await shard.run("close_admission", (shard.keys.admission, shard.keys.ready, shard.keys.trial), (state.text,))


async def forget_admission(shard: Shard) -> None:
    """Have the next admission read every row. Raises Unavailable."""
    await shard.command("DEL", shard.keys.admission, shard.keys.ready)


async def tombstones(shard: Shard) -> AsyncIterator[list[tuple[str, int]]]:
    """Yield the players whose deletion this Redis remembers, and when that was (µs). Raises Unavailable."""
    if not await shard.command("EXISTS", shard.keys.any_tombstone):
        return
    prefix = shard.keys.tombstone("")
    async for names in _scan(shard, "TYPE", "string"):
        found = [name for name in names if name.startswith(prefix)]
        if found:
            times = await shard.pipeline([("GET", name) for name in found])
            # Without a prefix keys of others may have such names; their values need not be times.
            yield [
                (name.removeprefix(prefix), int(at))
                for name, at in zip(found, times, strict=True)
                if at is not None and _TIME.fullmatch(at)
            ]


async def empty(shard: Shard, lock: str, on_keys: Callable[[int], None]) -> None:
    """Delete the keys under our patterns, but for those of a rebuild; other keys stay.

    Raises Unavailable, and RebuildInterrupted when the lock is not ours any more: others may have filled it since.
    """
    prefix = shard.keys.prefix
    ours = [prefix + pattern for pattern in KEY_PATTERNS if pattern not in _KEPT]
    starts = tuple(pattern.removesuffix("*") for pattern in ours if pattern.endswith("*"))
    whole = {pattern for pattern in ours if not pattern.endswith("*")}
    # The next rebuild gives Redis back the setting that one which was killed has left in the second.
    kept = (shard.keys.rebuild_lock, shard.keys.rebuild_rewrites)
    async for names in _scan(shard):
        found = [name for name in names if (name.startswith(starts) or name in whole) and name not in kept]
        if found:
            if not await shard.run("forget_keys", (shard.keys.rebuild_lock, *found), (lock,)):
                raise RebuildInterrupted(f"the lock of {shard.name} was lost")
            on_keys(len(found))


async def _scan(shard: Shard, *options: str) -> AsyncIterator[list[str]]:
    cursor = 0
    while True:
        cursor, names = await shard.command("SCAN", cursor, "COUNT", _KEYS_PER_CALL, *options)
        yield names
        if not int(cursor):
            return
