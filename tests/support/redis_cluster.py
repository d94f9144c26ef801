"""Run a cluster of Redis nodes for tests: masters with replicas, to kill, pause and start again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from leaderboard_cli.cluster.binaries import Servers, find_redis
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.redis_cluster import RedisCluster, RedisNode
from leaderboard_cli.cluster.server import running

NODE_TIMEOUT_MS = 1_000
SERVERS = Servers(os.environ.get("TEST_CLUSTER_SERVERS") or Servers.WHEELS)
"""`system` takes the redis-server on PATH, which may be an older one."""


class Node:
    """One node; its data folder outlives its process."""

    def __init__(
        self, folder: Path, name: str, *, node_timeout_ms: int = NODE_TIMEOUT_MS, appendfsync: str = "always"
    ) -> None:
        self.port, bus_port = find_free_ports(2)
        self.server = RedisNode(
            *(find_redis(SERVERS), folder, self.port, name),
            appendfsync=appendfsync,
            bus_port=bus_port,
            node_timeout_ms=node_timeout_ms,
        )
        self._life = ExitStack()

    def start(self) -> None:
        self._life.enter_context(running(self.server))

    def stop(self) -> None:
        self._life.close()

    def ask(self, *words: str | int) -> Any:
        return self.server.ask(*words)

    @property
    def id(self) -> str:
        return self.server.id

    @property
    def cluster_info(self) -> dict[str, str]:
        return self.server.cluster_info

    @property
    def role(self) -> str:
        """`master` or `slave`."""
        return str(self.server.replication["role"])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process; to a paused one only SIGCONT gets through."""
        if number is not signal.SIGCONT:
            self._pid = int(self.ask("INFO", "server")["process_id"])
        os.kill(self._pid, number)


class Cluster:
    """Masters with equal shares of the slots, and as many replicas of each as asked for."""

    def __init__(self, nodes: list[Node], masters: int) -> None:
        self.nodes = nodes
        self.masters = nodes[:masters]
        self.whole = RedisCluster(tuple(node.server for node in nodes), masters)

    def url(self, partitions: int) -> str:
        return self.whole.url(partitions)

    def owner(self, slot: int) -> Node:
        """The master that has a slot, as the first node that answers sees it."""
        (owner,) = [master for first, last, master in self.owners() if first <= slot <= last]
        return owner

    def owners(self, besides: Node | None = None) -> list[tuple[int, int, Node]]:
        """List first and last slot and master of each range, as the first node that answers sees them.

        `besides` is not asked: a paused one would keep whoever asks it waiting.
        """
        by_port = {node.port: node for node in self.nodes}
        for node in self.nodes:
            if node is besides:
                continue
            try:
                found = node.ask("CLUSTER", "SLOTS")
            except redis.RedisError:
                continue
            return [(first, last, by_port[master[1]]) for first, last, master, *_ in found]
        raise AssertionError("no node answers")

    def flush(self) -> None:
        """Empty every master."""
        for node in self.nodes:
            if node.role == "master":
                node.ask("FLUSHALL")


@contextmanager
def redis_cluster(
    folder: Path,
    *,
    masters: int = 3,
    replicas: int = 1,
    node_timeout_ms: int = NODE_TIMEOUT_MS,
    appendfsync: str = "always",
) -> Iterator[Cluster]:
    """Run a cluster; `replicas` is how many each master has."""
    nodes = [
        Node(folder, f"redis-{number + 1}", node_timeout_ms=node_timeout_ms, appendfsync=appendfsync)
        for number in range(masters * (1 + replicas))
    ]
    with ExitStack() as stack:
        for node in nodes:
            node.start()
            stack.callback(node.stop)
        cluster = Cluster(nodes, masters)
        cluster.whole.form()
        yield cluster
