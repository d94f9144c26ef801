"""A server that closes connections as soon as it has taken them, as one that is being killed does."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
import uvloop
from redis.exceptions import ConnectionError

from leaderboard_core.errors import Unavailable
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load

ATTEMPTS = 500
"""Some fifth of them meet a transport that was closed between the connection and the first write."""


@pytest.fixture
def closing_url() -> Iterator[str]:
    server = socket.create_server(("127.0.0.1", 0), backlog=100)

    def serve() -> None:
        while True:
            try:
                taken, _ = server.accept()
            except OSError:
                return
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            taken.close()

    serving = threading.Thread(target=serve)
    serving.start()
    yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    serving.join()


async def attempts(url: str) -> None:
    shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": url}))
    (shard,) = shard_map.shards
    try:
        for _ in range(ATTEMPTS):
            await pipelined(shard)
            await commanded(shard)
    finally:
        await shard_map.close()


async def pipelined(shard: Shard) -> None:
    with pytest.raises(ConnectionError):
        await shard.pipeliner.execute(("PING",))


async def commanded(shard: Shard) -> None:
    assert await shard.reachable()
    with pytest.raises(Unavailable):  # the breaker opens by and by
        await shard.command("PING")


def test_every_attempt_says_that_redis_is_away(closing_url: str) -> None:
    """On the loop of our processes, whose transports raise errors of their own."""
    uvloop.run(attempts(closing_url))
