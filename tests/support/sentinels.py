"""Run Sentinels that watch a master of the tests, and fail it over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import redis

from leaderboard_cli.cluster.binaries import Servers, find_redis
from leaderboard_cli.cluster.ports import LOOPBACK, find_free_ports
from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running
from tests.support.own_redis import OwnRedis
from tests.support.waiting import wait_until

SERVICE = "scores"
DOWN_AFTER_MS = 1_000


@dataclass(frozen=True)
class SentinelServer(RedisServer):
    """A Sentinel: a Redis that is started in that mode, on a file that it writes."""

    config: Path = Path()

    def command(self) -> Command:
        plain = super().command()
        return replace(plain, argv=(plain.argv[0], str(self.config), "--sentinel"))


@contextmanager
def sentinels(folder: Path, master: OwnRedis, count: int = 3, *, front: int | None = None) -> Iterator[tuple[int, ...]]:
    """Run Sentinels that agree by majority; yield their ports when they know each other and the master's replica.

    `front` is the port of an address before the master, which they watch, and name, in its place.
    """
    watched = front or urlsplit(master.url).port
    ports = find_free_ports(count)
    with ExitStack() as stack:
        for port in ports:
            own = folder / f"sentinel-{port}"
            own.mkdir()
            config = own / "sentinel.conf"
            config.write_text(
                f"bind {LOOPBACK}\nport {port}\ndir {own}\n"
                f"sentinel monitor {SERVICE} {LOOPBACK} {watched} {count // 2 + 1}\n"
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {SERVICE} 5000\n"
            )
            stack.enter_context(running(SentinelServer(find_redis(Servers.WHEELS), own, port, config=config)))
        clients = [stack.enter_context(redis.Redis(port=port, decode_responses=True)) for port in ports]

        def know_all() -> bool:
            found = [client.sentinel_master(SERVICE) for client in clients]
            return all(one["num-other-sentinels"] == count - 1 and one["num-slaves"] >= 1 for one in found)

        wait_until(know_all, "Sentinels that know each other and the replica", seconds=30)
        yield tuple(ports)
