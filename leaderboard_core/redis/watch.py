"""Look at every shard twice a second, so that a process that only reads learns that a server was demoted."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from leaderboard_core.backoff import keep_running, wait_for_stop
from leaderboard_core.errors import Unavailable
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How soon a process sees that a Redis has become another, where no connection broke."""


class Watch:
    """Looks at the shards of a map from `start` to `close`; what a look means is the shard's to know."""

    def __init__(self, shard_map: ShardMap) -> None:
        self._map = shard_map
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(keep_running("watch", partial(self._watch, shard), self._stop, _is_logged))
            for shard in self._map.shards
        ]

    async def close(self) -> None:
        """Stop; a look that waits for its answer is given up."""
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, shard: Shard) -> None:
        while not self._stop.is_set():
            try:
                await shard.look()
            except Unavailable as error:
                # The breaker knows, and /health says it.
                log.debug("no look at redis: %s", error.__cause__ or error, extra={"shard": shard.name})
            await wait_for_stop(self._stop, LOOK_SECONDS)


def _is_logged(task: str) -> None:
    """Do nothing more about a failed task than `keep_running` does."""
