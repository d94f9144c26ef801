"""Run a cluster of Redis of our own: masters with a share of the slots each, and one replica of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from leaderboard_cli.cluster.errors import StartError
from leaderboard_cli.cluster.ports import LOOPBACK
from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.redis_server import RedisServer

FOLDER = "redis-cluster"
SLOTS = 16_384
PARTITIONS_PER_MASTER = 2
FORM_SECONDS = 30.0
_POLL_SECONDS = 0.05
_ASK_SECONDS = 5.0


@dataclass(frozen=True)
class RedisNode(RedisServer):
    """One node; `bus_port` is where the others reach it."""

    bus_port: int = 0
    node_timeout_ms: int = 2_000

    @property
    def folder(self) -> Path:
        return self.data_dir.absolute() / FOLDER / f"{self.binary.data_name}-{self.name}"

    def command(self) -> Command:
        plain = super().command()
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(self.bus_port),
            "cluster-node-timeout": str(self.node_timeout_ms),
            "repl-diskless-sync-delay": "0",
        }
        words = (word for name, value in options.items() for word in (f"--{name}", value))
        return replace(plain, argv=(*plain.argv, *words))

    def ask(self, *words: str | int) -> Any:
        """Run one command. Raises redis-py's errors."""
        import redis  # `leaderboard up` without a cluster does not wait for it

        client = redis.Redis(
            host=LOOPBACK,
            port=self.port,
            password=self.password or None,
            decode_responses=True,
            socket_timeout=_ASK_SECONDS,
        )
        with client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID"))

    @property
    def cluster_info(self) -> dict[str, str]:
        text = str(self.ask("CLUSTER", "INFO"))
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)

    @property
    def replication(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("INFO", "replication")
        return found


@dataclass(frozen=True)
class RedisCluster:
    """Nodes that are one cluster: the first `masters` of them have the slots, the others follow them in turn."""

    nodes: tuple[RedisNode, ...]
    masters: int

    def url(self, partitions: int = 0) -> str:
        """The value of REDIS_URL for it."""
        password = self.nodes[0].password
        login = f":{quote(password, safe='')}@" if password else ""
        addresses = ",".join(f"{LOOPBACK}:{node.port}" for node in self.nodes[: self.masters])
        return f"redis+cluster://{login}{addresses}/?partitions={partitions or PARTITIONS_PER_MASTER * self.masters}"

    def form(self) -> None:
        """Let running nodes meet, and wait until they serve; new ones share the slots first. Raises StartError."""
        import redis

        try:
            new = not any(int(node.cluster_info["cluster_slots_assigned"]) for node in self.nodes)
            if new:
                self._share_slots()
            first = self.nodes[0]
            for node in self.nodes[1:]:
                node.ask("CLUSTER", "MEET", LOOPBACK, first.port, first.bus_port)  # its port may be another one now
            _wait(self._met, "its nodes did not find each other")
            if new:
                for number, node in enumerate(self.nodes[self.masters :]):
                    node.ask("CLUSTER", "REPLICATE", self.nodes[number % self.masters].id)
            _wait(self.is_whole, "it did not serve all its slots")
        except redis.RedisError as error:
            raise StartError("the Redis cluster", f"cannot be formed: {error}") from error

    def _share_slots(self) -> None:
        for index, node in enumerate(self.nodes[: self.masters]):
            first, end = (SLOTS * number // self.masters for number in (index, index + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)

    def _met(self) -> bool:
        return all(int(node.cluster_info["cluster_known_nodes"]) >= len(self.nodes) for node in self.nodes)

    def is_whole(self) -> bool:
        """Whether every node sees all slots served, and every replica is in sync."""
        roles = []
        for node in self.nodes:
            if node.cluster_info["cluster_state"] != "ok":
                return False
            found = node.replication
            if found["role"] == "slave" and found["master_link_status"] != "up":
                return False
            roles.append(found["role"])
        return roles.count("master") == self.masters


def node_names(masters: int) -> Sequence[str]:
    """Name the nodes of a cluster with one replica of each master."""
    return [f"redis-{number + 1}" for number in range(2 * masters)]


def _wait(until: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + FORM_SECONDS
    while not until():
        if time.monotonic() > deadline:
            raise StartError("the Redis cluster", f"{problem} within {FORM_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
