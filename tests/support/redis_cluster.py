"""Run a cluster of Redis nodes for tests: masters with replicas, to kill, pause and start again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import redis

from leaderboard_cli.cluster.binaries import Servers, find_redis
from leaderboard_cli.cluster.ports import LOOPBACK, find_free_ports
from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running
from tests.support.waiting import wait_until

SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000
START_SECONDS = 30.0


@dataclass(frozen=True)
class NodeServer(RedisServer):
    """A Redis in cluster mode."""

    bus_port: int = 0

    def command(self) -> Command:
        plain = super().command()
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(self.bus_port),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
        }
        return replace(
            plain, argv=(*plain.argv, *(word for name, value in options.items() for word in (f"--{name}", value)))
        )


class Node:
    """One node; its data folder outlives its process."""

    def __init__(self, folder: Path) -> None:
        self.port, bus_port = find_free_ports(2)
        self.server = NodeServer(find_redis(Servers.WHEELS), folder, self.port, bus_port=bus_port)
        self.bus_port = bus_port
        self._life = ExitStack()

    def start(self) -> None:
        self._life.enter_context(running(self.server))

    def stop(self) -> None:
        self._life.close()

    def ask(self, *words: str | int) -> Any:
        with redis.Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
            return client.execute_command(*words)

    @property
    def cluster_info(self) -> dict[str, str]:
        text = str(self.ask("CLUSTER", "INFO"))
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)

    @property
    def role(self) -> str:
        """`master` or `slave`."""
        return str(self.ask("INFO", "replication")["role"])

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID"))

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
        self.replicas = nodes[masters:]

    @property
    def addresses(self) -> str:
        return ",".join(f"{LOOPBACK}:{node.port}" for node in self.nodes[:3])

    def url(self, partitions: int, **parameters: str) -> str:
        given = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"redis+cluster://{self.addresses}/?partitions={partitions}{given}"

    def form(self) -> None:
        """Let the nodes meet, share the slots, and follow their masters."""
        first, count = self.nodes[0], len(self.masters)
        for index, master in enumerate(self.masters):
            master.ask("CLUSTER", "ADDSLOTSRANGE", index * SLOTS // count, (index + 1) * SLOTS // count - 1)
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", LOOPBACK, first.port, first.bus_port)
        wait_until(self._met, "nodes that know each other", seconds=START_SECONDS)
        for number, replica in enumerate(self.replicas):
            replica.ask("CLUSTER", "REPLICATE", self.masters[number % count].id)
        wait_until(self.is_whole, "a cluster", seconds=START_SECONDS)

    def _met(self) -> bool:
        return all(int(node.cluster_info["cluster_known_nodes"]) == len(self.nodes) for node in self.nodes)

    def is_whole(self) -> bool:
        """Whether every node sees all slots served, and every replica is in sync."""
        for node in self.nodes:
            if node.cluster_info["cluster_state"] != "ok":
                return False
            found = node.ask("INFO", "replication")
            if found["role"] == "slave" and found["master_link_status"] != "up":
                return False
        return [node.role for node in self.nodes].count("master") == len(self.masters)

    def owner(self, slot: int) -> Node:
        """The master that has a slot, as the first node that answers sees it."""
        for node in self.nodes:
            try:
                found = node.ask("CLUSTER", "SLOTS")
            except redis.RedisError:
                continue
            (port,) = [master[1] for first, last, master, *_ in found if first <= slot <= last]
            return next(one for one in self.nodes if one.port == port)
        raise AssertionError("no node answers")

    def flush(self) -> None:
        """Empty every master."""
        for node in self.nodes:
            if node.role == "master":
                node.ask("FLUSHALL")


@contextmanager
def redis_cluster(folder: Path, *, masters: int = 3, replicas: int = 1) -> Iterator[Cluster]:
    """Run a cluster; `replicas` is how many each master has."""
    nodes = [Node(folder / f"node-{number}") for number in range(masters * (1 + replicas))]
    with ExitStack() as stack:
        for node in nodes:
            node.start()
            stack.callback(node.stop)
        cluster = Cluster(nodes, masters)
        cluster.form()
        yield cluster
