"""Hold the lock of one shard's rebuild while a piece of work runs, however long it takes."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from leaderboard_core.errors import Unavailable
from leaderboard_core.redis.shard import Shard
from worker_service.recovery.restore import RebuildInterrupted

log = logging.getLogger(__name__)

LOCK_SECONDS = 30
_RENEWALS = 6

Result = TypeVar("Result")


class LockHeld(RebuildInterrupted):
    """Another process has the lock."""


async def under_lock(shard: Shard, work: Callable[[str], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work`, which is given the lock's nonce, and cancel it if the lock is lost.

    A task of its own renews the lock, several times within its life, so that a dead holder's ends. Raises LockHeld when
    another process has the lock, RebuildInterrupted when one takes it, Unavailable, and what `work` raises.
    """
    nonce = secrets.token_hex(8)
    if not await _lease(shard, nonce, take=True):
        raise LockHeld("another process is rebuilding")
    working = asyncio.create_task(work(nonce))
    renewing = asyncio.create_task(_renew(shard, nonce))
    try:
        await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            renewing.result()
        return await working
    finally:
        working.cancel()
        renewing.cancel()
        await asyncio.gather(working, renewing, return_exceptions=True)
        await _release(shard, nonce)


async def _renew(shard: Shard, nonce: str) -> None:
    """Renew until cancelled. Raises RebuildInterrupted when the lock is another's, or Redis silent for its life."""
    silent = 0
    while True:
        await asyncio.sleep(LOCK_SECONDS / _RENEWALS)
        try:
            if not await _lease(shard, nonce, take=False):
                raise RebuildInterrupted("the lock was lost")
        except Unavailable as error:
            silent += 1
            if silent == _RENEWALS:
                raise RebuildInterrupted("the lock could not be renewed") from error
        else:
            silent = 0


async def _lease(shard: Shard, nonce: str, *, take: bool) -> bool:
    words = (nonce, LOCK_SECONDS * 1000, "1" if take else "0")
    return bool(await shard.run("take_lease", (shard.keys.rebuild_lock,), words))


async def _release(shard: Shard, nonce: str) -> None:
    try:
        await shard.run("release_claim", (shard.keys.rebuild_lock,), (nonce,))
    except Unavailable:
        log.warning("the rebuild lock could not be given back and ends by itself", extra={"shard": shard.name})
