"""Holds a snapshot of each region, with its boards' indexes, for about a second, and bounds how many read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final

import asyncpg

from leaderboard_core.boards import Place
from leaderboard_core.concurrency.bulkhead import Bulkhead, BulkheadFull
from leaderboard_core.concurrency.ttl_cache import TtlCache
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool, RegionDatabases
from leaderboard_service.boards.coalescing import RequestCoalescer
from leaderboard_service.boards.postgres_queries import RegionSnapshot, read_index
from leaderboard_service.boards.sparse_index import SparseIndex

log = logging.getLogger(__name__)

SNAPSHOT_SECONDS: Final = 1.0
"""How old a snapshot may be, as far as INDEX_DUTY_CYCLE allows."""
INDEX_DUTY_CYCLE: Final = 0.25
"""The share of the time in which a board that changes may be read from end to end."""
WAITING_PER_CONNECTION: Final = 64
WAIT_SECONDS: Final = 1.0
"""How many reads wait for a connection, and how long: more, and Postgres would be asked for answers nobody awaits."""
BUSY: Final = "Redis is away, and Postgres has as many reads as it can answer; try again shortly."
_AWAY: Final = "Neither Redis nor Postgres can be reached; try again shortly."

_STATE_ERRORS = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedObjectError,  # the transaction that held the snapshot was ended from outside: so in Postgres 17,
    asyncpg.InvalidParameterValueError,  # and so before
)


@contextmanager
def answering() -> Iterator[None]:
    """Raise Unavailable when Postgres cannot be reached, or a snapshot is gone."""
    try:
        yield
    except (*CONNECTION_ERRORS, *_STATE_ERRORS) as error:
        raise Unavailable(_AWAY) from error


class HeldSnapshot:
    """A transaction that is held open so that others can see what it sees; once retired, it ends with its last user.

    `version` is that of the database then (`export_snapshot`), and `indexes` are those of rankings at that version.
    """

    def __init__(
        self,
        snapshot: str,
        version: str | None,
        connection: Any,
        transaction: AsyncExitStack,
        indexes: Mapping[str, SparseIndex],
    ) -> None:
        self.snapshot = snapshot
        self.version = version
        self.indexes = dict(indexes)
        self._reading: RequestCoalescer[SparseIndex] = RequestCoalescer()
        self._one_at_a_time = asyncio.Lock()
        self._connection = connection
        self._transaction = transaction
        self._users = 0
        self._retired = False
        self._ending: asyncio.Task[None] | None = None

    async def index_for(self, place: Place) -> SparseIndex:
        """Return the index of a region's part of a board, which is read when it is first asked for."""
        known = self.indexes.get(place.name)
        return known or await self._reading.read(place.name, lambda: self._read(place))

    async def _read(self, place: Place) -> SparseIndex:
        async with self.used(), self._one_at_a_time:
            if place.name not in self.indexes:
                with answering():
                    # A savepoint: what fails must not end the snapshot of all others.
                    async with self._connection.transaction():
                        self.indexes[place.name] = await read_index(self._connection, place, self.version)
            return self.indexes[place.name]

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._end_if_done()

    def retire(self) -> None:
        """Take no more users."""
        self._retired = True
        self._end_if_done()

    async def ended(self) -> None:
        """Retire, and return once the transaction has ended; at once if it still has users."""
        self.retire()
        if self._ending is not None:
            await self._ending

    def _end_if_done(self) -> None:
        if self._retired and not self._users and self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        try:
            await self._transaction.aclose()
        except Unavailable as error:
            log.info("a snapshot of the boards ended early", extra={"error": describe(error.__cause__ or error)})


class BoardSnapshots:
    """Opens the regions' parts of the boards: each as of one moment, about a second ago at most."""

    def __init__(self, databases: RegionDatabases) -> None:
        self._databases = databases
        # One connection is left to logins and exports.
        self._bulkheads = {
            pool: Bulkhead(
                max(1, pool.get_max_size() - 1),
                waiting=WAITING_PER_CONNECTION * pool.get_max_size(),
                wait_seconds=WAIT_SECONDS,
            )
            for pool in {databases[region] for region in databases.regions}
        }
        self._held: dict[str, HeldSnapshot] = {}
        self._asked: dict[str, set[Place]] = {region: set() for region in databases.regions}
        self._current = {
            region: TtlCache(partial(self._hold, region), SNAPSHOT_SECONDS, duty_cycle=INDEX_DUTY_CYCLE)
            for region in databases.regions
        }

    @asynccontextmanager
    async def open(self, place: Place) -> AsyncIterator[RegionSnapshot]:
        """Lend a region's part of the boards. Raises Unavailable, early when too many read."""
        pool = self._databases[place.region]
        self._asked[place.region].add(place)
        try:
            async with self._bulkheads[pool].entered():
                held = await self._current[place.region].get()
                async with held.used():
                    index = await held.index_for(place)
                    async with self._transaction(pool) as connection:
                        import_snapshot = sql.load("import_snapshot").replace("$1", held.snapshot)
                        await connection.execute(f"{import_snapshot}; {sql.load('go_by_order')}")
                        yield RegionSnapshot(connection, place, index)
        except BulkheadFull as error:
            raise Unavailable(BUSY) from error

    async def close(self) -> None:
        """End the transactions that are held open."""
        await asyncio.gather(*(held.ended() for held in self._held.values()))

    async def _hold(self, region: str) -> HeldSnapshot:
        """Hold the present snapshot instead of the last, with the indexes that were asked for since.

        They are read anew only if anything has changed.
        """
        loop = asyncio.get_running_loop()
        started, last = loop.time(), self._held.get(region)
        asked, self._asked[region] = self._asked[region], set()
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._transaction(self._databases.held(region)))
            await connection.execute(sql.load("go_by_order"))
            snapshot, version = await connection.fetchrow(sql.load("export_snapshot"))
            unchanged = last is not None and version is not None and version == last.version
            indexes = dict(last.indexes) if last is not None and unchanged else {}
            for place in asked:
                if place.name not in indexes:
                    indexes[place.name] = await read_index(connection, place, version)
            held = self._held[region] = HeldSnapshot(snapshot, version, connection, stack.pop_all(), indexes)
        if last is not None:
            last.retire()
        # Longer than the cache may give it; when nobody reads any more, Postgres can clean up again.
        loop.call_later(2 * SNAPSHOT_SECONDS + 5 * (loop.time() - started), held.retire)
        return held

    @asynccontextmanager
    async def _transaction(self, pool: Pool) -> AsyncIterator[Any]:
        """Lend a connection whose statements all see one snapshot. Raises Unavailable."""
        with answering():
            async with (
                pool.acquire(timeout=self._databases.timeout_seconds) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield connection
