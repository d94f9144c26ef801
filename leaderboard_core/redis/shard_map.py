"""Map regions, boards and players to the Redis that holds them, and open each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from leaderboard_core.backoff import until_answers
from leaderboard_core.redis.keys import Keys
from leaderboard_core.redis.partition import Partition, index_of
from leaderboard_core.redis.pipelining import Pipeliner
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.traced_shard import ScriptSpan, TracedShard
from leaderboard_core.settings import SettingsError, TopologySettings
from leaderboard_core.urls import without_password

GLOBAL = "GLOBAL"

Choice = TypeVar("Choice")


class ShardMap:
    """The only place that knows how many Redis servers there are.

    A shard is a Redis. Its variable may name several, separated by commas: the players of its regions are spread over
    them, each a partition. Regions whose variables are equal share a *group*: one shard, or the partitions of one URL
    list. Nothing outside this class, the key builders and the merge of boards may assume that there is one shard, or
    that a region has one.
    """

    def __init__(self, shards: Iterable[Shard]) -> None:
        self.shards: tuple[Shard, ...] = tuple(shards)
        by_regions: dict[tuple[str, ...], list[Shard]] = {}
        for shard in self.shards:
            by_regions.setdefault(shard.regions, []).append(shard)
        self._groups = tuple(tuple(group) for group in by_regions.values())
        self._home = {region: group for group in self._groups for region in group[0].regions}

    @classmethod
    def open(cls, settings: TopologySettings, script_span: ScriptSpan | None = None) -> ShardMap:
        """Make the clients; nothing connects before the first use. Regions with equal URLs share their shards.

        With `script_span` each script that a shard runs has a span.
        """
        make = Shard if script_span is None else partial(TracedShard, script_span=script_span)
        by_urls: dict[tuple[str, ...], list[str]] = {}
        for region in settings.regions:
            by_urls.setdefault(settings.redis_urls_of(region), []).append(region)
        return cls(
            _open_shard(make, url, tuple(regions), Partition(index, len(urls)), settings)
            for urls, regions in by_urls.items()
            for index, url in enumerate(urls)
        )

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(self._home)

    @property
    def one_shard_decides(self) -> bool:
        """Whether a user_id can be on one shard only, whatever its region; its scripts know then if it is free."""
        return len(self._groups) == 1

    def shard_of(self, region: str, user_id: str) -> Shard:
        """The shard that holds the player `user_id` of home region `region`."""
        return _member(self._home[region], user_id)

    def shards_of_player(self, user_id: str, region: str = GLOBAL) -> tuple[Shard, ...]:
        """The shards on which a player of that user_id may be who is on the board of `region`: one a group."""
        groups = self._groups if region == GLOBAL else (self._home[region],)
        return tuple(_member(group, user_id) for group in groups)

    def shards_of_region(self, region: str) -> tuple[Shard, ...]:
        """The shards that hold the players of home region `region`."""
        return self._home[region]

    def shards_of_board(self, region: str) -> tuple[Shard, ...]:
        """The shards whose parts make up a board: all of them for GLOBAL."""
        return self.shards if region == GLOBAL else self._home[region]

    def queues(self) -> tuple[tuple[Shard, str], ...]:
        """Every queue as (shard, region)."""
        return tuple((shard, region) for shard in self.shards for region in shard.regions)

    def claim_shard_of(self, user_id: str) -> Shard:
        """The shard that arbitrates who may register `user_id`, the same one for every process; so for addresses."""
        return _member(_member(self._groups, user_id), user_id)

    async def close(self) -> None:
        for shard in self.shards:
            await shard.pipeliner.close()
            await shard.client.aclose()

    async def wait_until_reachable(self, deadline: float, on_wait: Callable[[str], None]) -> None:
        """Wait for every Redis until `deadline` (loop time).

        Raises Unavailable with a message that names the variable to look at.
        """
        for shard in self.shards:
            await until_answers(shard.reachable, partial(_explain, shard), deadline, on_wait)


def _explain(shard: Shard, problem: str) -> str:
    return f"{shard.variable}: cannot reach Redis at {shard.name}: {problem}."


def _member(choices: Sequence[Choice], user_id: str) -> Choice:
    return choices[0] if len(choices) == 1 else choices[index_of(user_id, len(choices))]


def _open_shard(
    make: Callable[..., Shard], url: str, regions: tuple[str, ...], partition: Partition, settings: TopologySettings
) -> Shard:
    variable = settings.redis_variable_of(regions[0])
    try:
        pool = _make_pool(url, settings)
        pool.make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError):  # whose text may show a password
        raise SettingsError(f"{variable}: redis-py does not take one of the parameters behind the ?.") from None
    return make(
        name=without_password(url),
        variable=variable,
        client=redis.Redis.from_pool(pool),
        keys=Keys(),
        regions=regions,
        pipeliner=Pipeliner(pool, settings.redis_timeout_seconds),
        partition=partition,
    )


def _make_pool(url: str, settings: TopologySettings) -> redis.BlockingConnectionPool:
    return redis.BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        # Bytes that are no UTF-8 in a queue must reach the dead letters, not end the worker that reads them.
        encoding_errors="backslashreplace",
        max_connections=settings.redis_max_connections,
        timeout=settings.redis_timeout_seconds,
        socket_timeout=settings.redis_timeout_seconds,
        socket_connect_timeout=settings.redis_timeout_seconds,
        # A repeated EVALSHA could count a score twice: only the caller knows whether to try again.
        retry=Retry(NoBackoff(), 0),
        # While these are on, redis-py hands out connections without checking whether the server closed them.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
