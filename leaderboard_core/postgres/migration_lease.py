"""Hold the lease under which one process at a time migrates a database, and say how it goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import asyncpg

from leaderboard_core.backoff import Backoff
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres import sql

log = logging.getLogger(__name__)

T = TypeVar("T")
LOG_SECONDS = 10.0
_POLL = Backoff(first=0.05, most=1.0, jitter=0.5)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long migrations wait, in seconds.

    lease                how long the lease outlives its holder
    watch                between two renewals of it, each with a look at the progress
    lock                 for a lock in a transaction: upserts wait behind it meanwhile
    build_lock           for a lock of an index build: nobody waits behind it, and giving up costs the whole build
    long_transaction     age from which a transaction keeps an index build from being begun
    blocked              for locks, or for a process that makes no progress, before giving up
    """

    lease: float = 30.0
    watch: float = 1.0
    lock: float = 2.0
    build_lock: float = 60.0
    long_transaction: float = 10.0
    blocked: float = 300.0


PATIENCE = Patience()


class MigrationLease:
    """The lease on one database's migrations, kept on a connection of its own.

    `step` is what is being done, for those who wait; `waits_for` names the sessions that were last in the way.
    """

    def __init__(self, connection: Any, database: str, patience: Patience) -> None:
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.step = ""
        self.waits_for = ""
        self._connection = connection
        self.database = database
        self._patience = patience

    async def take(self) -> None:
        """Wait until no other process has the lease.

        Raises Unavailable when one that has it makes no progress for too long.
        """
        loop = asyncio.get_running_loop()
        seen, next_line = "", loop.time()
        deadline = loop.time() + self._patience.blocked
        for attempt in count():
            if await self._connection.fetchval(sql.load("take_migration_lease"), self.holder, self._patience.lease):
                return
            await self._connection.execute(sql.load("shorten_migration_lease"), self._patience.lease)
            other = await self._connection.fetchrow(sql.load("read_migration_lease"))
            found = "{holder}: {step}".format(**other) if other else ""
            if found != seen:
                seen, deadline = found, loop.time() + self._patience.blocked
            if loop.time() >= deadline:
                raise Unavailable(f"{self.database}: another process migrates and makes no progress. {seen}")
            if other and loop.time() >= next_line:
                next_line = loop.time() + LOG_SECONDS
                log.warning("%s: another process migrates: %s", self.database, seen)
            await asyncio.sleep(_POLL.pause(attempt))

    async def during(self, work: Coroutine[Any, Any, T], session: Any) -> T:
        """Do `work`, which uses the connection `session`, and renew the lease meanwhile; give it back at the end.

        The work is cancelled when the lease is lost or cannot be renewed. Raises Unavailable, or what the
        work raises.
        """
        working = asyncio.create_task(work)
        watching = asyncio.create_task(self._watch(session.get_server_pid()))
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                watching.result()
            return await working
        finally:
            for task in (working, watching):
                task.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)
            await self._release()

    async def _watch(self, pid: int) -> None:
        loop = asyncio.get_running_loop()
        next_line = loop.time() + LOG_SECONDS
        while True:
            await asyncio.sleep(self._patience.watch)
            step = self.step
            progress = await self._connection.fetchrow(sql.load("migration_progress"), pid)
            if progress["phase"] is not None:
                percent = "" if progress["percent"] is None else f" {progress['percent']} %"
                step = f"{step}, {progress['phase']}{percent}"
            if progress["waits_for"] is not None:
                self.waits_for = progress["waits_for"]
                step = f"{step}, waits for {self.waits_for}"
            renew = sql.load("renew_migration_lease")
            if not await self._connection.fetchval(renew, self.holder, self._patience.lease, step):
                raise Unavailable(f"{self.database}: another process has taken the migrations over.")
            if loop.time() >= next_line:
                next_line = loop.time() + LOG_SECONDS
                log.info("%s: migration under way: %s", self.database, step)

    async def _release(self) -> None:
        try:
            await self._connection.execute(sql.load("release_migration_lease"), self.holder)
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
            log.warning("the lease on migrations could not be given back and ends by itself", exc_info=True)
