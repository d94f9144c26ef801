"""Connect to Postgres: one lazily connected pool per region's database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TypeAlias

import asyncpg

from leaderboard_core.backoff import until_answers
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres import sql
from leaderboard_core.settings import SettingsError, TopologySettings
from leaderboard_core.urls import without_password

log = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

POOLER_ERRORS = (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError)
"""What a driver meets that prepares statements where each transaction may be another session's."""
POOLER_REMEDY = "Behind a pooler in transaction mode (PgBouncer) set POSTGRES_STATEMENT_CACHE=0."

CONNECTION_ERRORS = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that broke while the driver was busy with it
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,  # of a process that was paused for a while
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DeadlockDetectedError,  # with what an administrator does, or a migration
    *POOLER_ERRORS,
)
"""What the driver raises when a Postgres is unavailable, starting, stopping or not ours; a retry may work."""


class RegionDatabases:
    """The pool of each region; regions with the same DSN share one.

    Transactions that are held open have pools of their own, so that no request waits for one of them to end.
    """

    def __init__(self, settings: TopologySettings, pools: Mapping[str, Pool], held: Mapping[str, Pool]) -> None:
        self._settings = settings
        self._pools = pools
        self._held = held

    @classmethod
    async def open(cls, settings: TopologySettings) -> RegionDatabases:
        """Make the pools; nothing connects before the first use."""
        urls = {region: settings.database_url_of(region) for region in settings.regions}
        pools = {url: await _make_pool(settings, url, settings.postgres_pool_size) for url in set(urls.values())}
        # Each region holds one, and two while one follows the other.
        held = {url: await _make_pool(settings, url, 2 * len(urls)) for url in pools}
        return cls(
            settings,
            {region: pools[url] for region, url in urls.items()},
            {region: held[url] for region, url in urls.items()},
        )

    def __getitem__(self, region: str) -> Pool:
        return self._pools[region]

    def distinct(self) -> tuple[Pool, ...]:
        """Each database's pool once."""
        return tuple(dict.fromkeys(self._pools.values()))

    def regions_of(self, pool: Pool) -> tuple[str, ...]:
        """The regions whose database that is."""
        return tuple(region for region, one in self._pools.items() if one is pool)

    def held(self, region: str) -> Pool:
        """Return the pool for transactions of that region's database that are held open."""
        return self._held[region]

    @property
    def timeout_seconds(self) -> float:
        """How long a caller should wait for a whole answer, a free connection included."""
        return self._settings.postgres_timeout_seconds

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(self._pools)

    @asynccontextmanager
    async def answering(self, what: str = "Postgres, where players are saved,") -> AsyncIterator[None]:
        """Guard statements of a request: Unavailable when Postgres is unavailable, busy, or without our tables.

        `what` cannot be reached then, as the error's message says.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):
                yield
        except (*CONNECTION_ERRORS, asyncpg.UndefinedTableError, asyncpg.LockNotAvailableError) as error:
            log.warning("postgres is away", extra={"error": explain(error)})
            raise Unavailable(f"{what} cannot be reached now; try again shortly.") from error

    async def close(self) -> None:
        """Close every pool, giving statements in flight a moment."""
        for pool in set(self._held.values()):
            pool.terminate()
        await asyncio.gather(*map(_close, set(self._pools.values())))

    async def reachable(self, region: str, *, may_be_missing: bool = False) -> str | None:
        """Query the region's database: None when it answers, else what is wrong.

        With `may_be_missing` it is enough that the server says that it has no such database.
        """
        try:
            await self._pools[region].fetchval("SELECT 1", timeout=self._settings.postgres_timeout_seconds)
        except asyncpg.InvalidCatalogNameError as error:
            return None if may_be_missing else explain(error)
        except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:  # whatever it has against a SELECT
            return explain(error)
        return None

    async def why_writes_are_refused(self, region: str) -> str | None:
        """Ask the region's database why it refuses every write; None when it takes them.

        Raises CONNECTION_ERRORS when it does not answer.
        """
        in_recovery, read_only = await self._pools[region].fetchrow(sql.load("read_only"), timeout=self.timeout_seconds)
        if in_recovery:
            return "it is in recovery, as a standby is"
        return "its transactions are read-only (default_transaction_read_only)" if read_only else None

    async def wait_until_reachable(
        self, deadline: float, on_wait: Callable[[str], None], *, may_be_missing: bool = False
    ) -> None:
        """Wait for every database until `deadline` (loop time), or for its server alone.

        Raises Unavailable with a message that names the variable to look at.
        """
        for region in self.regions:
            answers = partial(self.reachable, region, may_be_missing=may_be_missing)
            await until_answers(answers, partial(self._explain, region), deadline, on_wait)
        if self._settings.postgres_statement_cache:
            await self._warn_of_poolers()

    async def _warn_of_poolers(self) -> None:
        """Log which databases are behind a pooler, which may give one statement's name to several processes."""
        for pool in self.distinct():
            try:
                async with asyncio.timeout(self.timeout_seconds), pool.acquire() as connection:
                    pooled = await connection.fetchval(sql.load("backend_pid")) != connection.get_server_pid()
            except asyncpg.InvalidCatalogNameError:
                continue  # it is still to be made
            except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
                log.warning("postgres is away", extra={"error": explain(error)})
                continue
            if pooled:
                region = self.regions_of(pool)[0]
                url = without_password(self._settings.database_url_of(region))
                log.warning(
                    "%s: a pooler answers at %s. %s", self._settings.database_variable_of(region), url, POOLER_REMEDY
                )

    def _explain(self, region: str, problem: str) -> str:
        variable = self._settings.database_variable_of(region)
        url = without_password(self._settings.database_url_of(region))
        said = f"{variable}: cannot reach Postgres for region {region} at {url}: {problem.rstrip('.')}."
        return said if POOLER_REMEDY in said else f"{said} Start Postgres, or set the variable to where it runs."


async def _make_pool(settings: TopologySettings, url: str, size: int) -> Pool:
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        timeout=settings.postgres_timeout_seconds,
        command_timeout=settings.postgres_timeout_seconds,
        statement_cache_size=settings.postgres_statement_cache,
        # Behind a pooler the next statement may run in another session: nothing is set that a query relies on.
        server_settings={"application_name": "leaderboard"},
        reset=None if settings.postgres_statement_cache else _keep_session,
    )


async def _keep_session(connection: object) -> None:
    """Leave a session as it is: behind a pooler it is no connection's own. An open transaction was rolled back."""


def explain(error: BaseException) -> str:
    """Describe what the driver raised, with the remedy where we know one."""
    return f"{describe(error)}. {POOLER_REMEDY}" if isinstance(error, POOLER_ERRORS) else describe(error)


@contextmanager
def pooler_errors_explained() -> Iterator[None]:
    """Raise SettingsError, with the remedy, in the place of the errors of prepared statements behind a pooler."""
    try:
        yield
    except POOLER_ERRORS as error:
        raise SettingsError(explain(error)) from error


async def _close(pool: Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
    except TimeoutError:
        pool.terminate()
