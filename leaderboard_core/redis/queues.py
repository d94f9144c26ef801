"""What waits between Redis and Postgres, how old it is, and which workers are at it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from leaderboard_core.errors import Unavailable
from leaderboard_core.events import timestamp_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.telemetry.ttl_cache import Fresh

FRESH_SECONDS = 1.0
"""A page that many people watch, and a monitoring that asks every process, cost one look a second."""
PATIENCE_SECONDS = 1.0
"""A Redis that hangs must not make the answer about it hang."""
ALIVE_SECONDS = 5.0
"""Workers give a sign of life every second or more often: after so many missed ones, one is counted as away."""
SHOWN_SECONDS = 60.0
"""Redis keeps the name of an ended worker for a day, which interests nobody."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """One region's queue: events waiting, taken but not committed, and refused by Postgres.

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


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker, and how long ago it gave its last sign of life to any Redis."""

    name: str
    last_seen_seconds: float

    @property
    def alive(self) -> bool:
        return self.last_seen_seconds < ALIVE_SECONDS

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class QueueReport:
    """Every queue that could be looked at, in the order of the regions, and the workers seen lately, latest first.

    `missing` are the regions whose Redis did not answer.
    """

    queues: list[QueueState]
    workers: list[WorkerState]
    missing: list[str]

    @property
    def workers_alive(self) -> int:
        return sum(worker.alive for worker in self.workers)


class QueueProbe:
    """Looks at every queue at most once in FRESH_SECONDS, however many ask."""

    def __init__(self, shard_map: ShardMap) -> None:
        self._map = shard_map
        self._fresh = Fresh(self._look, FRESH_SECONDS)

    async def report(self) -> QueueReport:
        """The queues and the workers, at most FRESH_SECONDS old; never raises for a Redis that is away."""
        return await self._fresh.get()

    async def _look(self) -> QueueReport:
        queues = self._map.queues()
        looks = await asyncio.gather(*(_patiently(shard, region) for shard, region in queues))
        seen: dict[str, float] = {}
        for _, workers in filter(None, looks):
            for worker in workers:
                seen[worker.name] = min(worker.last_seen_seconds, seen.get(worker.name, SHOWN_SECONDS))
        shown = sorted((age, name) for name, age in seen.items() if age < SHOWN_SECONDS)
        return QueueReport(
            [look[0] for look in looks if look is not None],
            [WorkerState(name, age) for age, name in shown],
            [region for (_, region), look in zip(queues, looks, strict=True) if look is None],
        )


async def queue_states(shard_map: ShardMap) -> list[QueueState]:
    """Every region's queue, by one round trip per shard. Raises Unavailable."""
    return list(await asyncio.gather(*(queue_state(shard, region) for shard, region in shard_map.queues())))


async def queue_state(shard: Shard, region: str) -> QueueState:
    """One region's queue, in one round trip. Raises Unavailable."""
    return (await _inspect(shard, region))[0]


async def next_events(shard: Shard, region: str, count: int) -> list[str]:
    """Up to `count` raw events of a region's queue, the next to be taken first. Raises Unavailable."""
    events: list[str] = await shard.command("LRANGE", shard.keys.queue(region), -count, -1)
    return events[::-1]


async def _patiently(shard: Shard, region: str) -> tuple[QueueState, list[WorkerState]] | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await _inspect(shard, region)
    except (Unavailable, TimeoutError):
        return None


async def _inspect(shard: Shard, region: str) -> tuple[QueueState, list[WorkerState]]:
    keys = shard.keys
    now, waiting, dead, oldest, *flat = await shard.run(
        "inspect_queue", (keys.workers, keys.queue(region), keys.dead(region)), (keys.processing(region, ""),)
    )
    names, seen, held, held_oldest = flat[::4], flat[1::4], flat[2::4], flat[3::4]
    lag = _age(now, [timestamp_of(event) for event in (oldest, *held_oldest) if event])
    workers = [WorkerState(name, _age(now, [int(float(at))])) for name, at in zip(names, seen, strict=True)]
    return QueueState(region, waiting, sum(held), dead, lag), workers


def _age(now: int, times: Sequence[int | None]) -> float:
    """Seconds from the earliest of `times` to `now` (µs); 0 when none is known or the clock has stepped back.

    An event without a readable time has no age: a worker moves it to the dead letters.
    """
    known = [time for time in times if time is not None]
    return max(0.0, (now - min(known)) / 1_000_000) if known else 0.0
