"""The dead-letter lists: what Postgres refused, to be read, tried again or dropped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter; `id` is stable for as long as it lies there."""

    id: str
    region: str
    event: str
    reason: str
    at: str
    entry: str


async def letters(shard_map: ShardMap, regions: tuple[str, ...] = ()) -> list[Letter]:
    """The dead letters of `regions` (all if empty), newest first per region. Raises Unavailable."""
    found = []
    for shard, region in shard_map.queues():
        if not regions or region in regions:
            entries: list[str] = await shard.command("LRANGE", shard.keys.dead(region), 0, -1)
            found += [_letter(region, entry) for entry in entries]
    return found


async def move(shard_map: ShardMap, wanted: Callable[[Letter], bool], *, retry: bool) -> list[Letter]:
    """Put the wanted letters' events back into their queues, or drop them; returns those moved.

    Each is moved in one step: an event is never in both places, nor in none. Raises Unavailable.
    """
    shards: dict[str, Shard] = {region: shard for shard, region in shard_map.queues()}
    moved = []
    for letter in await letters(shard_map):
        keys = shards[letter.region].keys
        lists = (keys.dead(letter.region), keys.queue(letter.region))
        words = (letter.entry, letter.event if retry else "")
        if wanted(letter) and await shards[letter.region].run("remove_dead_letter", lists, words):
            moved.append(letter)
    return moved


def _letter(region: str, entry: str) -> Letter:
    content = orjson.loads(entry)
    name = hashlib.blake2b(f"{region}\n{entry}".encode(), digest_size=5).hexdigest()
    return Letter(name, region, content["event"], content["reason"], content["at"], entry)
