"""Rebuild shards in the background, one rebuild per shard, until each is admitted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from leaderboard_core.backoff import Backoff, Pauses
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.settings import WorkerSettings
from leaderboard_core.telemetry.metrics import REBUILD_RUNNING, REBUILDS
from worker_service.recovery.lock import LockHeld
from worker_service.recovery.rebuild import Lives, rebuild
from worker_service.recovery.restore import RebuildInterrupted

log = logging.getLogger(__name__)

BACKOFF = Backoff(first=0.1, most=2.0, jitter=0.5)


class Rebuilder:
    """Runs rebuilds; `lives` is told of every look at a server. `shards` are all of the system."""

    def __init__(
        self, shards: Sequence[Shard], databases: RegionDatabases, settings: WorkerSettings, stop: asyncio.Event
    ) -> None:
        self._shards = shards
        self.lives = Lives()
        self._databases = databases
        self._settings = settings
        self._stop = stop
        self._running: dict[Shard, asyncio.Task[None]] = {}

    def start(self, shard: Shard) -> None:
        """Rebuild `shard` unless that is under way."""
        running = self._running.get(shard)
        if running is None or running.done():
            self._running[shard] = asyncio.create_task(self._watched(shard))

    async def _watched(self, shard: Shard) -> None:
        with REBUILD_RUNNING.labels(shard.name).track_inprogress():
            await self._until_done(shard)

    async def _until_done(self, shard: Shard) -> None:
        pauses = Pauses(BACKOFF, self._stop)
        log.info("redis may not hold all players: reading postgres", extra={"shard": shard.name})
        while not self._stop.is_set():
            try:
                if await shard.is_ready():
                    return
                players = await rebuild(
                    shard,
                    self._databases,
                    self._settings,
                    self._log_progress,
                    lives=self.lives,
                    others=self._shards,
                )
            except (RebuildInterrupted, Unavailable) as error:
                REBUILDS.labels(shard.name, "interrupted").inc()
                # Who waits for another process' rebuild or restore has nothing to warn of: that one tells how it goes.
                level = logging.INFO if isinstance(error, LockHeld) else logging.WARNING
                log.log(level, "rebuild waits: %s", error, extra={"shard": shard.name})
                await pauses.pause()
            except Exception:
                # Whatever it was, the shard stays closed until a rebuild ends well: that must be seen, and go on.
                REBUILDS.labels(shard.name, "failed").inc()
                log.exception("rebuild failed", extra={"shard": shard.name})
                await pauses.pause()
            else:
                REBUILDS.labels(shard.name, "complete").inc()
                log.info("rebuild complete", extra={"shard": shard.name, "players": players})
                return

    @staticmethod
    def _log_progress(region: str, players: int) -> None:
        log.info("rebuild page", extra={"region": region, "players": players})

    async def close(self) -> None:
        """Stop what runs; a shard is admitted only at the end, so a half rebuild is never served."""
        for task in self._running.values():
            task.cancel()
        for result in await asyncio.gather(*self._running.values(), return_exceptions=True):
            if isinstance(result, Exception):
                raise result
