"""Map regions, boards and players to the Redis that holds them, and open each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from leaderboard_core.backoff import until_answers
from leaderboard_core.redis.acknowledging import AcknowledgingPipeliner
from leaderboard_core.redis.keys import GLOBAL, Keys
from leaderboard_core.redis.locating import ClusterNodes, Locate, make_located_pool, sentinel_master
from leaderboard_core.redis.opening import NodeConnections, open_connection
from leaderboard_core.redis.partition import Partition, index_of
from leaderboard_core.redis.pipelining import Pipeliner
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.slots import slot_of, tag_of
from leaderboard_core.redis.tls import share_contexts
from leaderboard_core.redis.traced_shard import ScriptSpan, TracedShard
from leaderboard_core.settings import SettingsError, TopologySettings
from leaderboard_core.settings.redis_endpoints import RedisEndpoint
from leaderboard_core.urls import without_password

__all__ = ["GLOBAL", "ShardMap"]

Choice = TypeVar("Choice")


class ShardMap:
    """The only place that knows how many Redis servers there are.

    A shard is a Redis. Its variable may name several, separated by commas: the players of its regions are spread over
    them, each a partition. Regions whose variables are equal share a *group*: one shard, or the partitions of one URL
    list. Nothing outside this class, the key builders and the merge of boards may assume that there is one shard, or
    that a region has one.
    """

    def __init__(self, shards: Iterable[Shard], shared: Iterable[NodeConnections] = ()) -> None:
        self.shards: tuple[Shard, ...] = tuple(shards)
        self._shared = tuple(shared)
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
        by_endpoints: dict[tuple[RedisEndpoint, ...], list[str]] = {}
        for region in settings.regions:
            by_endpoints.setdefault(settings.redis_endpoints_of(region), []).append(region)
        shards: list[Shard] = []
        shared: dict[NodeConnections, None] = {}
        for endpoints, regions in by_endpoints.items():
            try:
                places = list(_places(endpoints, settings.redis_timeout_seconds))
                shards += [_open_shard(make, at, tuple(regions), settings) for at in places]
                shared.update((at.nodes, None) for at in places if at.nodes is not None)
            except (TypeError, ValueError, redis.RedisError):  # whose text may show a password
                variable = settings.redis_variable_of(regions[0])
                raise SettingsError(f"{variable}: redis-py does not take one of the parameters behind the ?.") from None
        return cls(shards, shared)

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
            await shard.writer.close()
            await shard.client.aclose()
        for connections in self._shared:
            await connections.close()

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


class _At(NamedTuple):
    """One partition: where its server is, or how that is found, and the prefix of its keys.

    `nodes` are the connections that it shares with other partitions.
    """

    endpoint: RedisEndpoint
    partition: Partition
    locate: Locate | None = None
    prefix: str = ""
    nodes: NodeConnections | None = None

    @property
    def name(self) -> str:
        url = without_password(self.endpoint.url)
        match self.endpoint.kind:
            case "cluster":
                return f"{url} {self.partition}"
            case "sentinel":
                return f"{url} {self.endpoint.service}"
        return url


def _places(endpoints: tuple[RedisEndpoint, ...], timeout: float) -> Iterator[_At]:
    first = endpoints[0]
    if first.kind == "cluster":
        nodes, connections = ClusterNodes(first, timeout), NodeConnections(timeout)
        for index in range(first.partitions):
            tag = tag_of(index, first.partitions)
            locate = partial(nodes.master_of, slot_of(tag))
            yield _At(first, Partition(index, first.partitions), locate, f"{{{tag}}}:", connections)
        return
    for index, endpoint in enumerate(endpoints):
        master = sentinel_master(endpoint, timeout) if endpoint.kind == "sentinel" else None
        yield _At(endpoint, Partition(index, len(endpoints)), master)


def _open_shard(make: Callable[..., Shard], at: _At, regions: tuple[str, ...], settings: TopologySettings) -> Shard:
    variable = settings.redis_variable_of(regions[0])
    pool = _make_pool(at, settings)
    pool.make_connection()  # type: ignore[no-untyped-call]
    timeout, replicas = settings.redis_timeout_seconds, settings.redis_wait_replicas
    own = partial(open_connection, pool, timeout)
    pipeliner = writer = Pipeliner(own if at.nodes is None else partial(at.nodes.open, pool))
    if replicas:  # a connection of its own: nothing stands behind what waits for replicas
        writer = AcknowledgingPipeliner(own, timeout, replicas, fsync=settings.redis_wait_fsync)
    return make(
        name=at.name,
        variable=variable,
        client=redis.Redis.from_pool(pool),
        keys=Keys(at.prefix, regions[0] if at.prefix and len(regions) == 1 else ""),
        regions=regions,
        pipeliner=pipeliner,
        writer=writer,
        partition=at.partition,
    )


def _make_pool(at: _At, settings: TopologySettings) -> redis.BlockingConnectionPool:
    options: dict[str, Any] = {
        "decode_responses": True,
        # Bytes that are no UTF-8 in a queue must reach the dead letters, not end the worker that reads them.
        "encoding_errors": "backslashreplace",
        "max_connections": settings.redis_max_connections,
        "timeout": settings.redis_timeout_seconds,
        "socket_timeout": settings.redis_timeout_seconds,
        "socket_connect_timeout": settings.redis_timeout_seconds,
        # A repeated EVALSHA could count a score twice: only the caller knows whether to try again.
        "retry": Retry(NoBackoff(), 0),
        # While these are on, redis-py hands out connections without checking whether the server closed them.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if at.locate is None:
        pool = redis.BlockingConnectionPool.from_url(at.endpoint.url, **options)
        share_contexts(pool)
        return pool
    return make_located_pool(at.endpoint, at.locate, **options)
