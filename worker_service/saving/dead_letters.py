"""Read the dead-letter lists, what Postgres refused, and requeue or discard their entries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap


@dataclass(frozen=True, slots=True)
class DeadLetterEntry:
    """One entry of a dead-letter list; `id` is stable for as long as it is there."""

    shard: Shard
    id: str
    region: str
    event: str
    reason: str
    at: str
    raw: str


Wanted: TypeAlias = Callable[[DeadLetterEntry], bool]


async def entries(shard_map: ShardMap, regions: tuple[str, ...] = ()) -> list[DeadLetterEntry]:
    """Read the dead letters of `regions` (all if empty), newest first per list. Raises Unavailable."""
    found = []
    for shard, region in shard_map.queues():
        if not regions or region in regions:
            raw_entries: list[str] = await shard.command("LRANGE", shard.keys.dead(region), 0, -1)
            found += [_entry(shard, region, raw) for raw in raw_entries]
    return found


async def requeue(shard_map: ShardMap, wanted: Wanted) -> list[DeadLetterEntry]:
    """Put the wanted entries' events back into their queues; returns those requeued.

    Each is moved in one step: an event is never in both places, nor in none. Raises Unavailable.
    """
    return await _remove(shard_map, wanted, lambda entry: entry.event)


async def discard(shard_map: ShardMap, wanted: Wanted) -> list[DeadLetterEntry]:
    """Delete the wanted entries for good; returns those discarded. Raises Unavailable."""
    return await _remove(shard_map, wanted, lambda _: "")


async def _remove(
    shard_map: ShardMap, wanted: Wanted, requeued: Callable[[DeadLetterEntry], str]
) -> list[DeadLetterEntry]:
    removed = []
    for entry in await entries(shard_map):
        keys = entry.shard.keys
        lists = (keys.dead(entry.region), keys.queue(entry.region))
        words = (entry.raw, requeued(entry))
        if wanted(entry) and await entry.shard.run("remove_dead_letter", lists, words):
            removed.append(entry)
    return removed


def _entry(shard: Shard, region: str, raw: str) -> DeadLetterEntry:
    content = orjson.loads(raw)
    name = hashlib.blake2b(f"{region}\n{raw}".encode(), digest_size=5).hexdigest()
    return DeadLetterEntry(shard, name, region, content["event"], content["reason"], content["at"], raw)
