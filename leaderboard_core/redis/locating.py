"""Find the server that has a partition now, each time that a connection to it is made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError

from leaderboard_core.redis.closed_transports import closed_transports
from leaderboard_core.redis.tls import TlsConnection, share_contexts
from leaderboard_core.settings.redis_endpoints import RedisEndpoint

Address: TypeAlias = tuple[str, int]
Locate: TypeAlias = Callable[[], Awaitable[Address]]

ASK_SECONDS = 1.0
"""How long one node or Sentinel may take to say who is the master, before another one is asked."""
_KNOWN_SECONDS = 0.1
"""How old an answer of the cluster may be: connections that are made anew together share one."""


class _Located(Connection):
    """Looks for its server each time that it connects."""

    def __init__(self, *, locate: Locate, **options: Any) -> None:
        super().__init__(**options)
        self._locate = locate

    async def _connect(self) -> None:
        self.host, self.port = await self._locate()
        await super()._connect()  # type: ignore[no-untyped-call]


class LocatedConnection(_Located):
    """A connection to the server that `locate` finds when it is made."""


class LocatedTlsConnection(_Located, TlsConnection):
    """The same with TLS."""


class ClusterNodes:
    """Asks the nodes of a cluster who has which slot, in turn, until one says it."""

    def __init__(self, endpoint: RedisEndpoint, timeout: float) -> None:
        self._seeds = endpoint.nodes
        self._kind, self._options = _node_options(endpoint, min(timeout, ASK_SECONDS))
        self._slots: list[tuple[int, int, Address]] = []
        self._turn = 0
        self._asked_at = -_KNOWN_SECONDS
        self._lock = asyncio.Lock()

    async def master_of(self, slot: int) -> Address:
        """Return the address of the master that has a slot. Raises redis-py's ConnectionError."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            if loop.time() - self._asked_at <= _KNOWN_SECONDS and (known := self._known(slot)) is not None:
                return known
            problem: Exception | None = None
            for node in self._in_turn():
                try:
                    with closed_transports():
                        self._slots = await self._ask_node(node)
                except (TimeoutError, RedisError, OSError) as error:
                    problem = error
                    continue
                self._asked_at = loop.time()
                # One that has left the cluster knows of no slots.
                if (known := self._known(slot)) is not None:
                    return known
        raise ConnectionError(
            f"no node of the cluster says who has slot {slot}: {problem or 'none has it'}"
        ) from problem

    def _known(self, slot: int) -> Address | None:
        return next((address for first, last, address in self._slots if first <= slot <= last), None)

    def _in_turn(self) -> list[Address]:
        """All nodes, another one first each time: one that is cut off from the others goes on naming itself."""
        nodes = list(dict.fromkeys((*(address for _, _, address in self._slots), *self._seeds)))
        self._turn += 1
        first = self._turn % len(nodes)
        return nodes[first:] + nodes[:first]

    async def _ask_node(self, node: Address) -> list[tuple[int, int, Address]]:
        connection = self._kind(host=node[0], port=node[1], **self._options)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command("CLUSTER", "SLOTS")
            answer = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        # A node that does not know its own address leaves it out: it is the one that was asked.
        return [(first, last, (str(master[0] or node[0]), int(master[1]))) for first, last, master, *_ in answer]


def sentinel_master(endpoint: RedisEndpoint, timeout: float) -> Locate:
    """Make what asks the Sentinels of an endpoint for its master; the first that agrees with its quorum answers."""
    user, password = endpoint.sentinel_auth
    options = {
        "username": user or None,
        "password": password or None,
        "socket_timeout": min(timeout, ASK_SECONDS),
        "socket_connect_timeout": min(timeout, ASK_SECONDS),
        "retry": Retry(NoBackoff(), 0),
        **_ssl_options(endpoint),
    }

    async def locate() -> Address:
        sentinel: Any = Sentinel(list(endpoint.nodes), sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        problem: Exception | None = None
        try:
            for one in sentinel.sentinels:
                share_contexts(one.connection_pool)
                try:
                    with closed_transports():
                        known = await one.sentinel_masters()
                except (TimeoutError, RedisError, OSError) as error:
                    problem = problem or error
                    continue
                state = known.get(endpoint.service)
                if state and sentinel.check_master_state(state, endpoint.service):
                    return str(state["ip"]), int(state["port"])
        finally:
            for one in sentinel.sentinels:
                await one.aclose()
        raise ConnectionError(
            f"no Sentinel names a master of {endpoint.service!r}: {problem or 'none knows one that is up'}"
        ) from problem

    return locate


def make_located_pool(endpoint: RedisEndpoint, locate: Locate, **options: Any) -> redis.BlockingConnectionPool:
    """Make a pool whose connections go to the server that is found when each is made."""
    given: dict[str, Any] = dict(parse_url(endpoint.url))
    kind = LocatedTlsConnection if given.pop("connection_class", None) is SSLConnection else LocatedConnection
    return redis.BlockingConnectionPool(connection_class=kind, locate=locate, **{**given, **options})


async def locate_for(pool: redis.ConnectionPool) -> Address:
    """Find the server that a pool of `make_located_pool` is for. Raises redis-py's ConnectionError."""
    address: Address = await pool.connection_kwargs["locate"]()
    return address


def make_connection_to(address: Address, pool: redis.ConnectionPool) -> AbstractConnection:
    """Make a connection with the options of a pool of `make_located_pool`, to a server that has been found."""

    async def locate() -> Address:
        return address

    return pool.connection_class(**{**pool.connection_kwargs, "locate": locate})


def _node_options(endpoint: RedisEndpoint, timeout: float) -> tuple[type[Connection], dict[str, Any]]:
    """Return how one node is connected to: the kind of connection, and its options but for the address."""
    options: dict[str, Any] = dict(parse_url(endpoint.url))
    kind = TlsConnection if options.pop("connection_class", Connection) is SSLConnection else Connection
    for name in ("host", "port", "db"):
        options.pop(name, None)
    times = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
    return kind, {**options, **times, "decode_responses": True}


def _ssl_options(endpoint: RedisEndpoint) -> Mapping[str, Any]:
    """TLS of the Sentinels is that of the servers."""
    kind, options = _node_options(endpoint, ASK_SECONDS)
    found = {name: value for name, value in options.items() if name.startswith("ssl_")}
    return {**found, "ssl": True} if kind is TlsConnection else {}
