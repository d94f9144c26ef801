"""The shard map: which Redis holds a player, and which ones hold a board."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError

from leaderboard_core import lua
from leaderboard_core.errors import Unavailable
from leaderboard_core.keys import Keys
from leaderboard_core.postgres import describe, without_password
from leaderboard_core.settings import TopologySettings

GLOBAL = "GLOBAL"
CONNECTION_ERRORS = (RedisError, OSError, asyncio.TimeoutError)
"""What a Redis that is away raises."""


@dataclass(slots=True, eq=False)
class Shard:
    """One Redis: its client, its key prefix, and the regions whose players it holds."""

    name: str
    variable: str
    client: redis.Redis
    keys: Keys
    regions: tuple[str, ...]
    _scripts: dict[str, lua.Script] = field(default_factory=lua.all_scripts)

    async def run(self, script: str, keys: Sequence[str], args: Sequence[str | int] = ()) -> Any:
        """Run a script of `leaderboard_core/lua` in one round trip (two the first time on a server).

        Raises Unavailable when Redis does not answer; a write may then have been done or not.
        """
        loaded = self._scripts[script]
        try:
            try:
                return await self.client.evalsha(loaded.sha, loaded.number_of_keys, *keys, *args)
            except NoScriptError:
                return await self.client.eval(loaded.source, loaded.number_of_keys, *keys, *args)
        except CONNECTION_ERRORS as error:
            raise unreachable(error) from error

    async def command(self, *words: str | int | float) -> Any:
        """Run one Redis command. Raises Unavailable when Redis does not answer."""
        try:
            return await self.client.execute_command(*words)  # type: ignore[no-untyped-call]
        except CONNECTION_ERRORS as error:
            raise unreachable(error) from error

    async def reachable(self) -> str | None:
        """None when Redis answers, else what is wrong."""
        try:
            await self.client.ping()
        except CONNECTION_ERRORS as error:
            return describe(error)
        return None


def unreachable(error: BaseException) -> Unavailable:
    """The error a caller sees when a shard does not answer; the driver's own words stay in the log."""
    reason = "is loading its data" if isinstance(error, BusyLoadingError) else "cannot be reached"
    return Unavailable(
        f"A Redis server {reason}; a write may have been done or not: repeat it with its Idempotency-Key."
    )


class ShardMap:
    """The only place that knows how many Redis servers there are.

    A shard is a Redis, not a region: several regions may share one, and nothing outside this class,
    the key builders and the merge of boards may assume otherwise.
    """

    def __init__(self, shards: Iterable[Shard]) -> None:
        self.shards: tuple[Shard, ...] = tuple(shards)
        self._home = {region: shard for shard in self.shards for region in shard.regions}
        self._homes = {region: (shard,) for region, shard in self._home.items()}

    @classmethod
    def open(cls, settings: TopologySettings) -> ShardMap:
        """Make the clients; nothing connects before the first use. Regions with equal URLs share a shard."""
        by_url: dict[str, list[str]] = {}
        for region in settings.regions:
            by_url.setdefault(settings.redis_url_of(region), []).append(region)
        return cls(
            Shard(
                name=without_password(url),
                variable=settings.redis_variable_of(regions[0]),
                client=_client(url, settings),
                keys=Keys(),
                regions=tuple(regions),
            )
            for url, regions in by_url.items()
        )

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(self._home)

    def shard_of(self, region: str, user_id: str) -> Shard:
        """The shard that holds the player `user_id` of home region `region`."""
        del user_id  # one shard a region now; hash shards inside a region will look at it
        return self._home[region]

    def shards_of_board(self, region: str) -> tuple[Shard, ...]:
        """The shards whose parts make up a board: all of them for GLOBAL."""
        return self.shards if region == GLOBAL else self._homes[region]

    def queues(self) -> tuple[tuple[Shard, str], ...]:
        """Every queue as (shard, region)."""
        return tuple((shard, region) for shard in self.shards for region in shard.regions)

    def claim_shard_of(self, user_id: str) -> Shard:
        """The shard that arbitrates who may register `user_id`, the same one for every process."""
        return self.shards[crc32(user_id.encode()) % len(self.shards)]

    async def close(self) -> None:
        for shard in self.shards:
            await shard.client.aclose()

    async def wait_until_reachable(self, deadline: float, on_wait: Callable[[str], None]) -> None:
        """Wait for every Redis until `deadline` (loop time).

        Raises Unavailable with a message that names the variable to look at.
        """
        loop = asyncio.get_running_loop()
        for shard in self.shards:
            pause = 0.1
            while (problem := await shard.reachable()) is not None:
                message = (
                    f"{shard.variable}: cannot reach Redis at {shard.name}: {problem}. "
                    "Start Redis, or set the variable to where it runs."
                )
                if loop.time() >= deadline:
                    raise Unavailable(message)
                on_wait(message)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)


def _client(url: str, settings: TopologySettings) -> redis.Redis:
    pool = redis.BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=settings.redis_max_connections,
        timeout=settings.redis_timeout_seconds,
        socket_timeout=settings.redis_timeout_seconds,
        socket_connect_timeout=settings.redis_timeout_seconds,
        # A repeated EVALSHA could count a score twice: only the caller knows whether to try again.
        retry=Retry(NoBackoff(), 0),
    )
    return redis.Redis.from_pool(pool)
