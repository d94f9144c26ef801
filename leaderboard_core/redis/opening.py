"""Open the connections for pipelining: one for a shard, or one for all partitions of a node of a cluster."""

from __future__ import annotations

import asyncio

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection

from leaderboard_core.redis.closed_transports import closed_transports
from leaderboard_core.redis.locating import Address, locate_for, make_connection_to
from leaderboard_core.redis.replies import Replies


async def open_connection(pool: redis.ConnectionPool, timeout: float) -> Replies:
    """Open a connection as redis-py makes those of `pool`: it knows about passwords, TLS and databases.

    `timeout` is the longest silence in seconds while answers are awaited. Raises redis-py's errors, or OSError.
    """
    return await _opened(pool.make_connection(), timeout, gathers=False)  # type: ignore[no-untyped-call]


class NodeConnections:
    """One connection to each node of a cluster, for all partitions that the node has.

    What is asked of them in one turn of the event loop is one write: a service's CPU goes by the number of nodes, and
    not by that of the partitions.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._opened: dict[Address, asyncio.Task[Replies]] = {}

    async def open(self, pool: redis.ConnectionPool) -> Replies:
        """Return the connection to the node that has what `pool` of `make_located_pool` is for; open it if need be.

        Raises redis-py's errors, or OSError.
        """
        address = await locate_for(pool)
        self._opened = {known: opened for known, opened in self._opened.items() if _is_joinable(opened)}
        opened = self._opened.get(address)
        if opened is None:
            connection = make_connection_to(address, pool)
            opened = asyncio.create_task(_opened(connection, self._timeout, gathers=True))
            opened.add_done_callback(_look_at)
            self._opened[address] = opened
        return await asyncio.shield(opened)

    async def close(self) -> None:
        """Close all of them, and those that are being opened."""
        for opened in self._opened.values():
            opened.cancel()
        for replies in await asyncio.gather(*self._opened.values(), return_exceptions=True):
            if isinstance(replies, Replies):
                await replies.close()


async def _opened(connection: AbstractConnection, timeout: float, *, gathers: bool) -> Replies:
    try:
        with closed_transports():
            await connection.connect()  # type: ignore[no-untyped-call]
        return Replies(connection, timeout, gathers=gathers)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise


def _is_joinable(opened: asyncio.Task[Replies]) -> bool:
    """Whether it is being opened, or open and left by nobody."""
    if not opened.done():
        return True
    return not opened.cancelled() and opened.exception() is None and opened.result().is_joinable()


def _look_at(opened: asyncio.Task[Replies]) -> None:
    if not opened.cancelled():
        opened.exception()  # of those who asked for it, nobody may be left to hear of it
