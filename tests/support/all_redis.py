"""A client of every Redis of a layout, that shows them as one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NoReturn

import redis.asyncio as redis

from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import TopologySettings, load

_PLAYER = ("user:", "entries:", "deleted:", "bucket:user:", "bucket:login:", "idempotency:")
_CLAIMED = ("claim:", "bucket:registrations:", "bucket:passwords:")
_EVERYWHERE = ("CONFIG SET", "CONFIG RESETSTAT", "FLUSHDB", "FLUSHALL", "SCRIPT FLUSH")
_ANYWHERE = ("TIME", "CONFIG GET", "EVAL", "PING")
_SUMMED = ("LLEN", "ZCARD")
_JOINED = ("LRANGE", "ZRANGE")
_FIRST_THAT_HAS_IT = ("GET", "HGETALL", "HGET", "TTL", "PTTL", "TYPE", "LINDEX", "LPOP", "RPOP", "LSET", "SMEMBERS")


class AllRedis(redis.Redis):
    """Takes commands with the names that keys have on one Redis, and sends them to whoever holds the key.

    A list or a board that several hold is read as one, and what is pushed or added goes where its player is. What has
    no meaning on several Redis fails.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__()
        self.shard_map = ShardMap.open(load(TopologySettings, {**environ, "REDIS_TIMEOUT_SECONDS": "10"}))
        self._all = self.shard_map.shards

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self.shard_map.close()
        await super().aclose(close_connection_pool)

    def of_one_shard(self, count: int, region: str = "EU") -> list[str]:
        """Return user_ids whose players are on the same Redis."""
        first = self.shard_map.shard_of(region, "p0")
        names = (f"p{number}" for number in range(100 * count))
        return [name for name in names if self.shard_map.shard_of(region, name) is first][:count]

    async def begin_another_life(self) -> None:
        """Let the admission of each Redis be for an earlier life, as after a restart."""
        for shard in self._all:
            await shard.client.set(shard.keys.admission, f"closed {shard.scope} a1 b2")

    async def lose_players(self) -> None:
        """Empty every Redis but for what it says of its part, without which one with players is a whole one."""
        places = [(shard, await shard.client.get(shard.keys.layout)) for shard in self._all]
        await self.flushdb()
        for shard, place in places:
            if place is not None:
                await shard.client.set(shard.keys.layout, place)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Any:
        """Of one Redis only."""
        assert len(self._all) == 1, "a pipeline goes to one Redis"
        return self._all[0].client.pipeline(transaction, shard_hint)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        name, *rest = args
        if len(self._all) == 1:
            return await _ask(self._all[0], *args, **options)
        if name in _EVERYWHERE:
            answers = [await _ask(shard, *args, **options) for shard in self._all]
            return answers[0]
        if name in _ANYWHERE:
            return await _ask(self._all[0], *args, **options)
        if name in ("SCAN", "KEYS"):
            pattern = rest[0] if name == "KEYS" else rest[rest.index(b"MATCH") + 1] if b"MATCH" in rest else "*"
            found = await self._names(pattern)
            return found if name == "KEYS" else (0, found)
        if name == "DBSIZE":
            return len(await self._names("*"))
        if name in ("DEL", "EXISTS"):
            return sum([await self._any(name, key) for key in rest])
        if name == "LMOVE":
            source, target, *ends = rest
            shard = await self._first_with(source)
            moved = (shard.keys.prefix + source, shard.keys.prefix + target)
            return await _ask(shard, name, *moved, *ends, **options)
        return await self._keyed(name, rest[0], rest[1:], options)

    async def _keyed(self, name: str, key: str, rest: Sequence[Any], options: dict[str, Any]) -> Any:
        holders = await self._holders(key)
        if len(holders) == 1:
            return await _send(holders[0], name, key, rest, options)
        if name in _SUMMED:
            return sum([await _send(shard, name, key, rest, options) for shard in holders])
        if name in _FIRST_THAT_HAS_IT:
            return await _send(await self._first_with(key), name, key, rest, options)
        if name in _JOINED:
            return await _joined(holders, name, key, rest, options)
        by_shard: dict[Shard, list[Any]] = {}
        if name == "LPUSH":
            for value in rest:
                by_shard.setdefault(await self._of_player(_user_of(value), holders), []).append(value)
        elif name in ("ZADD", "ZREM", "ZSCORE") and key.startswith("leaderboard:"):
            step = 2 if name == "ZADD" else 1
            for at in range(0, len(rest), step):
                user_id = rest[at + step - 1]
                by_shard.setdefault(await self._of_player(user_id, holders), []).extend(rest[at : at + step])
        elif name in ("SET", "ZADD", "HSET") and not key.startswith(("leaderboard:", "queue:")):
            by_shard = {shard: list(rest) for shard in holders}
        else:
            _fail(name, key)
        answers = [await _send(shard, name, key, own, options) for shard, own in by_shard.items()]
        return sum(answers) if name in ("LPUSH", "ZADD", "ZREM") else answers[0]

    async def _names(self, pattern: str) -> list[str]:
        """Names without the tag of a partition, each once."""
        found: set[str] = set()
        for shard in self._all:
            prefix = shard.keys.prefix
            found |= {key.removeprefix(prefix) async for key in shard.client.scan_iter(f"{prefix}*", count=1000)}
        return sorted(name for name in found if fnmatchcase(name, pattern))

    async def _any(self, name: str, key: str) -> int:
        return int(any([await _send(shard, name, key, (), {}) for shard in await self._holders(key)]))

    async def _first_with(self, key: str) -> Shard:
        holders = await self._holders(key)
        for shard in holders:
            if await _send(shard, "EXISTS", key, (), {}):
                return shard
        return holders[0]

    async def _holders(self, key: str) -> tuple[Shard, ...]:
        for start in _CLAIMED:
            if key.startswith(start):
                return (self.shard_map.claim_shard_of(key.removeprefix(start)),)
        for start in _PLAYER:
            if key.startswith(start):
                owner = key.removeprefix(start).partition("/")[0]
                may_have = self.shard_map.shards_of_player(owner)
                having = [one for one in may_have if await _send(one, "EXISTS", key, (), {})]
                return (having[0] if having else await self._of_player(owner, may_have),)
        kind, _, rest = key.partition(":")
        if kind == "leaderboard":
            return self.shard_map.shards_of_board(rest.rpartition(":")[2])  # of any board, in any window
        if key.startswith(("queue:scores:", "bucket:region:")):
            return self.shard_map.shards_of_region(rest.split(":")[1])
        return self._all

    async def _of_player(self, user_id: str, among: Sequence[Shard]) -> Shard:
        """Where a player of that user_id is; of who is nowhere, where one of EU would be, as events of tests are."""
        may_have = [shard for shard in self.shard_map.shards_of_player(user_id, GLOBAL) if shard in among]
        for shard in may_have:
            if await _send(shard, "EXISTS", f"user:{user_id}", (), {}):
                return shard
        of_eu = self.shard_map.shard_of("EU", user_id)
        return of_eu if of_eu in may_have else may_have[0]


async def _ask(shard: Shard, *args: Any, **options: Any) -> Any:
    return await shard.client.execute_command(*args, **options)  # type: ignore[no-untyped-call]


async def _send(shard: Shard, name: str, key: str, rest: Sequence[Any], options: dict[str, Any]) -> Any:
    if shard.keys.only_region and key == f"leaderboard:{GLOBAL}":
        key = f"leaderboard:{shard.keys.only_region}"
    return await _ask(shard, name, shard.keys.prefix + key, *rest, **options)


async def _joined(holders: Sequence[Shard], name: str, key: str, rest: Sequence[Any], options: dict[str, Any]) -> Any:
    if list(rest[:2]) != [0, -1]:
        _fail(name, key)
    if name == "LRANGE":
        return [one for shard in holders for one in await _send(shard, name, key, rest, options)]
    rows: list[Any] = []
    for shard in holders:
        rows += await shard.client.zrange(shard.keys.prefix + key, 0, -1, withscores=True)
    rows.sort(key=lambda row: (row[1], row[0].encode()))
    return rows if options.get("withscores") else [row[0] for row in rows]


def _user_of(value: str | bytes) -> str:
    """The player of an event or of a dead letter; what is neither may go to any part."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return ""
    if isinstance(found, dict) and isinstance(found.get("event"), str):
        return _user_of(found["event"])
    return str(found.get("user_id", "")) if isinstance(found, dict) else ""


def _fail(name: str, key: str) -> NoReturn:
    raise AssertionError(f"{name} {key} has no meaning on several Redis; mark the test with its layout")
