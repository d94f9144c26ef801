"""Run a Redis for one test, with its append-only file, to stop, start, pause, empty and restore."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import redis

from leaderboard_cli.cluster.binaries import Servers, find_redis
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running


class OwnRedis:
    """Start and stop a Redis; the data folder outlives the process."""

    def __init__(self, folder: Path) -> None:
        (port,) = find_free_ports(1)
        self.server = RedisServer(find_redis(Servers.WHEELS), folder, port)
        self.url = self.server.url
        self._life = ExitStack()

    def start(self) -> None:
        self._life.enter_context(running(self.server))

    def stop(self) -> None:
        self._life.close()

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server's process; to a paused one only SIGCONT gets through."""
        if number is not signal.SIGCONT:
            with self.client() as client:
                self._pid = int(client.info("server")["process_id"])
        os.kill(self._pid, number)

    def copy_data(self, target: Path) -> None:
        """Copy the data of the stopped server, as a backup."""
        shutil.copytree(self.server.folder, target)

    def restore(self, source: Path) -> None:
        """Replace the stopped server's data with a backup."""
        self.lose_data()
        shutil.copytree(source, self.server.folder)

    def lose_data(self) -> None:
        """Delete the data, as a lost disk does."""
        shutil.rmtree(self.server.folder)
