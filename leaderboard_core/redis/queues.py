"""Read the queues between Redis and Postgres: what waits, how old it is, and which workers hold some of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from leaderboard_core.events import timestamp_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue of a region, or of a part of it: events waiting, taken but not committed, and refused by Postgres.

    `lag_seconds` is the age of the oldest event that is not committed yet, 0 when there is none.
    """

    region: str
    waiting: int
    processing: int
    dead: int
    lag_seconds: float

    @property
    def uncommitted(self) -> int:
        """Events that are not in Postgres yet."""
        return self.waiting + self.processing

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def by_region(states: Iterable[QueueState]) -> list[QueueState]:
    """Add up the queues of each region, whose players may be spread over several Redis; regions keep their order."""
    found: dict[str, QueueState] = {}
    for state in states:
        other = found.get(state.region)
        if other is not None:
            state = QueueState(
                state.region,
                state.waiting + other.waiting,
                state.processing + other.processing,
                state.dead + other.dead,
                max(state.lag_seconds, other.lag_seconds),
            )
        found[state.region] = state
    return list(found.values())


async def queue_states(shard_map: ShardMap) -> list[QueueState]:
    """Read every region's queues and add them up, by one round trip per queue. Raises Unavailable."""
    return by_region(await asyncio.gather(*(queue_state(shard, region) for shard, region in shard_map.queues())))


async def queue_state(shard: Shard, region: str) -> QueueState:
    """Read a region's queue on one shard, in one round trip. Raises Unavailable."""
    return (await inspect_queue(shard, region))[0]


async def inspect_queue(shard: Shard, region: str) -> tuple[QueueState, dict[str, float]]:
    """Read a region's queue on one shard, and the seconds since the last heartbeat of each worker, in one round trip.

    Raises Unavailable.
    """
    keys = shard.keys
    now, waiting, dead, oldest, *flat = await shard.run(
        "inspect_queue", (keys.workers, keys.queue(region), keys.dead(region)), (keys.processing(region, ""),)
    )
    names, seen, processing, processing_oldest = flat[::4], flat[1::4], flat[2::4], flat[3::4]
    lag = _age(now, [timestamp_of(event) for event in (oldest, *processing_oldest) if event])
    heartbeats = {name: _age(now, [int(float(at))]) for name, at in zip(names, seen, strict=True)}
    return QueueState(region, waiting, sum(processing), dead, lag), heartbeats


async def next_events(shard: Shard, region: str, count: int) -> list[str]:
    """Read up to `count` raw events of a region's queue, the next to be taken first. Raises Unavailable."""
    events: list[str] = await shard.command("LRANGE", shard.keys.queue(region), -count, -1)
    return events[::-1]


def _age(now: int, times: Sequence[int | None]) -> float:
    """Seconds from the earliest of `times` to `now` (µs); 0 when none is known or the clock has stepped back.

    An event without a readable time has no age: a worker moves it to the dead letters.
    """
    known = [time for time in times if time is not None]
    return max(0.0, (now - min(known)) / 1_000_000) if known else 0.0
