"""Bring a Redis that is empty, new or older than Postgres up to date, and admit it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import asyncpg

from leaderboard_core.errors import describe
from leaderboard_core.postgres import restores, sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool, RegionDatabases
from leaderboard_core.postgres.fencing import Fence, has_been_admitted, set_nonce
from leaderboard_core.postgres.imports import imported_since
from leaderboard_core.postgres.layouts import read_repartition
from leaderboard_core.redis.admission import Admission, ServerState
from leaderboard_core.redis.layout import LayoutChanged
from leaderboard_core.redis.queues import queue_state
from leaderboard_core.redis.server_settings import eviction_policy_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_core.settings import WorkerSettings
from leaderboard_core.telemetry.metrics import REBUILD_EXPECTED, REBUILD_PLAYERS
from worker_service.recovery.definitions import copy_definitions, known_boards
from worker_service.recovery.entries import entry_pages, restore_entries
from worker_service.recovery.forgetting import forget_players
from worker_service.recovery.global_sets import settle_global_sets
from worker_service.recovery.layout import note_layout
from worker_service.recovery.lock import under_lock
from worker_service.recovery.nearly_sorted import by_score
from worker_service.recovery.regions import RegionsChanged, check_regions
from worker_service.recovery.restore import (
    RebuildInterrupted,
    deletion_pages,
    own_pages,
    player_pages,
    restore_deletions,
    restore_pages,
)
from worker_service.recovery.rewrites import without_rewrites

log = logging.getLogger(__name__)

PLAYERS_PER_PAGE = 20_000
PAGES_HELD = 4
"""Players are restored by score as far as holding so many allows: the more, the nearer their places in the sets are."""
CLOCK_MARGIN_SECONDS = 60
"""How far the clock of a Redis may have stepped back without a lost row being overlooked."""

OnPage = Callable[[str, int], None]


@dataclass(slots=True)
class Lives:
    """When this process first saw the present life of each server (seconds, monotonic)."""

    _seen: dict[Shard, tuple[tuple[str, str], float]] = field(default_factory=dict)

    def saw(self, shard: Shard, state: ServerState) -> float:
        """Note a look at a server; return the seconds since this life of it was first seen."""
        known = self._seen.get(shard)
        if known is None or known[0] != state.life:
            known = self._seen[shard] = (state.life, time.monotonic())
        return time.monotonic() - known[1]


async def rebuild(
    shard: Shard,
    databases: RegionDatabases,
    settings: WorkerSettings,
    on_page: OnPage | None = None,
    *,
    lives: Lives | None = None,
    others: Sequence[Shard] = (),
    whole: bool = False,
) -> int:
    """Fill `shard` from the databases of its regions and admit its present life; returns the players read.

    An admission's nonce goes to the databases first: what was read from the shard under an earlier one is not committed
    any more, so that the rows read here are all that there will ever be of its earlier life (docs/decisions/0016). Of a
    region that the shard held completely then only the rows that are newer than its last write are read (all of them
    with `whole`): what Redis lost is the end of its history. One rebuild at a time per shard. Nothing newer in Redis is
    overwritten, and no reader sees the boards before the end. A shard that is open stays so, under its admission.
    Before it is admitted it gets the definitions of boards, of `others` when GLOBAL's database is away by then. Raises
    Unavailable (Redis) or RebuildInterrupted.
    """

    async def work(lock: str) -> int:
        return await _rebuild(shard, databases, settings, on_page, lives or Lives(), others, lock, whole=whole)

    if (await shard.look()).state == "replica":
        raise RebuildInterrupted("it is a replica of another Redis")
    return await under_lock(shard, work)


async def _rebuild(
    shard: Shard,
    databases: RegionDatabases,
    settings: WorkerSettings,
    on_page: OnPage | None,
    lives: Lives,
    others: Sequence[Shard],
    lock: str,
    *,
    whole: bool,
) -> int:
    state = await shard.look()
    held = _held(shard, state)
    if state.is_open:
        await copy_definitions(shard, databases[GLOBAL], others)
        return await _read(shard, databases, on_page, held, others, whole=whole)
    await _check_eviction(shard, settings)
    lives.saw(shard, state)
    admission = Admission(secrets.token_hex(8), shard.regions, *state.life, shard.partition)
    is_first = await _begin(shard, databases, admission)
    await settle_global_sets(shard, held, await known_boards(shard, databases[GLOBAL], others))
    async with without_rewrites(shard):
        players = await _read(shard, databases, on_page, held, others, whole=whole)
    for region in held - set(shard.regions):
        await _forget_region(shard, region)
    await copy_definitions(shard, databases[GLOBAL], others)
    if not is_first:
        # An event of an earlier life must not have a later time than the next write.
        await asyncio.sleep(max(0.0, settings.clock_skew_seconds - lives.saw(shard, state)))
    keys = (shard.keys.admission, shard.keys.ready, shard.keys.rebuild_lock)
    if not await shard.run("admit", keys, (admission.encode(), admission.encode_marker(), lock)):
        raise RebuildInterrupted("redis was restarted, demoted or emptied meanwhile, or the lock was lost")
    return players


def _held(shard: Shard, state: ServerState) -> set[str]:
    """The regions whose players, or the same part of them, an earlier life of the server held."""
    admission = state.admission
    return set(admission.regions) if admission is not None and admission.partition == shard.partition else set()


async def _begin(shard: Shard, databases: RegionDatabases, admission: Admission) -> bool:
    """Write the nonce into each region's database; return whether none of them has seen an admission before."""
    is_first = True
    try:
        if await restores.any_under_way(databases):
            raise RebuildInterrupted(
                "a restore of Postgres has begun and not ended: if it runs no more, run it again, or call it off by "
                "`leaderboard restore --abandon`"
            )
        if await read_repartition(databases[GLOBAL]) is not None:
            raise RebuildInterrupted(
                "players are being spread over other Redis: if `leaderboard repartition` runs no more, run it again, "
                "or call it off by `leaderboard repartition --abandon`"
            )
        await check_regions(databases)
        for region in shard.regions:
            is_first = is_first and not await has_been_admitted(databases[region], region)
        await note_layout(shard, databases)
        for region in shard.regions:
            await set_nonce(databases[region], Fence(shard.partition.name(region), admission.nonce))
    except (RegionsChanged, LayoutChanged) as error:
        raise RebuildInterrupted(str(error)) from error
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        raise RebuildInterrupted(describe(error)) from error
    return is_first


async def _read(
    shard: Shard,
    databases: RegionDatabases,
    on_page: OnPage | None,
    held: set[str],
    others: Sequence[Shard],
    *,
    whole: bool,
) -> int:
    """Restore the rows and deletions that the shard lacks; returns the players read."""
    players = 0
    boards = await known_boards(shard, databases[GLOBAL], others)
    for region in shard.regions:
        part = shard.partition.name(region)
        since = await _last_write(shard, region) if region in held and not whole else 0
        if since and await _has_imported(databases[region], part, since):
            since = 0  # among older rows may be some that Redis has not
        REBUILD_PLAYERS.labels(part).set(0)
        expected = 0 if since else await _estimate(databases[region])
        REBUILD_EXPECTED.labels(part).set(shard.partition.share_of(expected))
        async with (
            aclosing(player_pages(databases[region], since, PLAYERS_PER_PAGE)) as found,
            aclosing(own_pages(shard, found)) as own,
            aclosing(by_score(own, PAGES_HELD * PLAYERS_PER_PAGE)) as pages,
            aclosing(restore_pages(shard, region, pages)) as restored,
        ):
            async for number in restored:
                players += number
                REBUILD_PLAYERS.labels(part).inc(number)
                if on_page is not None:
                    on_page(region, number)
        # The GLOBAL sets of a shard that gets another region are made of all entries.
        changed_since = since if held == set(shard.regions) else 0
        async with aclosing(entry_pages(databases[region], changed_since)) as entries:
            async for page in entries:
                await restore_entries(shard, region, page, boards)
        # After the rows: what was deleted while they were read is in one of the two.
        async with aclosing(deletion_pages(databases[region], since)) as deletions:
            async for page in deletions:
                await restore_deletions(shard, region, page)
    return players


async def _check_eviction(shard: Shard, settings: WorkerSettings) -> None:
    policy = await eviction_policy_of(shard)
    if policy and not settings.allow_eviction:
        raise RebuildInterrupted(
            f"maxmemory-policy of {shard.name} is {policy}, by which players vanish: set it to noeviction "
            "(ALLOW_EVICTION=true admits it all the same)"
        )


async def _estimate(pool: Pool) -> int:
    """Estimate the players in Postgres, without counting; 0 before its first ANALYZE."""
    try:
        return int(await pool.fetchval(sql.load("estimate_players")) or 0)
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        raise RebuildInterrupted(describe(error)) from error


async def _has_imported(pool: Pool, part: str, since: int) -> bool:
    try:
        return await imported_since(pool, part, since)
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        raise RebuildInterrupted(describe(error)) from error


async def _last_write(shard: Shard, region: str) -> int:
    """Read the time (µs) of the last write into a region that this Redis knows of, less a margin; 0 if none."""
    at: str | None = await shard.command("HGET", shard.keys.region_bucket(region), "at")
    if not at:
        return 0
    return max(0, min(int(at), await shard.now()) - CLOCK_MARGIN_SECONDS * 1_000_000)


async def _forget_region(shard: Shard, region: str) -> None:
    """Remove the players of a region that has moved to another Redis from this one's GLOBAL board."""
    waiting = await queue_state(shard, region)
    if waiting.uncommitted:
        raise RebuildInterrupted(
            f"{waiting.uncommitted} events of region {region} wait on {shard.name}, which is not "
            f"its Redis any more: set REDIS_URL_{region} back until `leaderboard check-queue` shows 0, then move it"
        )
    await forget_players(shard, region)
    log.warning("a region that has moved away was forgotten", extra={"region": region, "shard": shard.name})
