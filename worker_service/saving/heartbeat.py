"""Send this worker's heartbeats, reclaim what stale workers hold, and have a Redis rebuilt that is not ready."""

from __future__ import annotations

import asyncio
import logging

from leaderboard_core.backoff import wait_for_stop
from leaderboard_core.errors import Unavailable
from leaderboard_core.redis.shard import Shard
from leaderboard_core.telemetry.metrics import EVENTS_RECLAIMED
from worker_service.recovery.rebuild import Rebuilder

log = logging.getLogger(__name__)


class Heartbeat:
    """Keeps this worker in one shard's registry of workers, and removes what stale workers left there."""

    def __init__(
        self, shard: Shard, worker: str, timeout_seconds: int, rebuilder: Rebuilder, stop: asyncio.Event
    ) -> None:
        self._shard = shard
        self._worker = worker
        self._timeout = timeout_seconds
        self._rebuilder = rebuilder
        self._stop = stop

    async def run(self) -> None:
        """Beat until the stop, several times within the timeout."""
        while not self._stop.is_set():
            try:
                await self.beat()
            except Unavailable as error:
                log.warning("no heartbeat could be sent: %s", error.__cause__)
            await wait_for_stop(self._stop, min(1.0, self._timeout / 4))

    async def beat(self) -> None:
        """Send one heartbeat; reclaim the batches of stale workers, and start to rebuild a Redis that is not ready.

        Raises Unavailable.
        """
        shard, stale_after = self._shard, self._timeout * 1_000_000
        keys = shard.keys
        for other in await shard.run("heartbeat", (keys.workers,), (self._worker, stale_after)):
            for region in shard.regions:
                reclaimed = await shard.run(
                    "reclaim_batch",
                    (keys.queue(region), keys.processing(region, other), keys.workers),
                    (other, stale_after),
                )
                if reclaimed > 0:
                    EVENTS_RECLAIMED.labels(region).inc(reclaimed)
                    log.warning(
                        "took over from a silent worker", extra={"worker": other, "region": region, "events": reclaimed}
                    )
            await shard.run("forget_worker", (keys.workers,), (other,))
        if not await shard.is_ready():
            self._rebuilder.start(shard)
