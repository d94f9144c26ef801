"""How long the queues are, and what waits in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from leaderboard_core.shards import Shard, ShardMap


@dataclass(frozen=True, slots=True)
class QueueLength:
    """One region's queue: events waiting, taken but not committed, and refused by Postgres."""

    region: str
    length: int
    processing: int
    dead: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


async def queue_lengths(shard_map: ShardMap) -> list[QueueLength]:
    """The lengths of every region's queue. Raises Unavailable."""
    return [await queue_length(shard, region) for shard, region in shard_map.queues()]


async def queue_length(shard: Shard, region: str) -> QueueLength:
    """The length of one region's queue. Raises Unavailable."""
    keys = shard.keys
    workers: list[str] = await shard.command("ZRANGE", keys.workers, 0, -1)
    lists = [keys.queue(region), keys.dead(region), *(keys.processing(region, worker) for worker in workers)]
    length, dead, *processing = await shard.pipeline(("LLEN", name) for name in lists)
    return QueueLength(region, length, sum(processing), dead)


async def next_events(shard: Shard, region: str, count: int) -> list[str]:
    """Up to `count` raw events of a region's queue, the next to be taken first. Raises Unavailable."""
    events: list[str] = await shard.command("LRANGE", shard.keys.queue(region), -count, -1)
    return events[::-1]
