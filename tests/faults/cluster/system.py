"""Start a system on a real cluster of three masters, each with a replica."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from tests.acceptance.cluster import local_cluster
from tests.faults.boards import define_boards
from tests.faults.cluster.losses import PartitionedLedger
from tests.faults.cluster.nodes import Nodes
from tests.faults.system import ENVIRONMENT, REGIONS, SystemUnderTest, retrying, tokens_of
from tests.support.redis_cluster import redis_cluster

PARTITIONS = 6
NODE_TIMEOUT_MS = 2_000
"""Longer than a killed node takes to be back from its disk, so that it keeps its slots then."""
_FEW_PROCESSES = ("--gateways", "1", "--replicas", "2", "--workers", "2")


@dataclass(frozen=True)
class Keeping:
    """What a write is acknowledged for: so many replicas have it, all on their disks with `fsync`."""

    replicas: int = 1
    fsync: bool = True
    appendfsync: str = "always"

    @property
    def loses_nothing(self) -> bool:
        """Whether no single failure may lose an acknowledged write."""
        return self.replicas == 1 and self.fsync and self.appendfsync == "always"

    @property
    def environment(self) -> dict[str, str]:
        return {"REDIS_WAIT_REPLICAS": str(self.replicas), "REDIS_WAIT_FSYNC": str(self.fsync).lower()}

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.environment.items())
        return f"{settings}, appendfsync {self.appendfsync}"


@dataclass
class ClusterUnderTest(SystemUnderTest):
    """A running system whose Redis is a cluster."""

    ledger: PartitionedLedger
    nodes: Nodes = field(kw_only=True)

    @asynccontextmanager
    async def redis_servers(self) -> AsyncIterator[Sequence[Any]]:
        async with AsyncExitStack() as stack:
            clients = []
            for node in await self.nodes.masters():
                client = redis.Redis.from_url(node.server.url, decode_responses=True, socket_timeout=10)
                clients.append(await stack.enter_async_context(client))
                await retrying(client.ping)
            yield clients


@contextmanager
def system_on_a_cluster(
    folder: Path, keeping: Keeping, ledger: Callable[[Sequence[str], int], PartitionedLedger] = PartitionedLedger
) -> Iterator[ClusterUnderTest]:
    """Start a system for faults of its Redis Cluster, and stop it at the end."""
    with (
        ThreadPoolExecutor(1) as thread,
        redis_cluster(
            folder / "nodes", node_timeout_ms=NODE_TIMEOUT_MS, appendfsync=keeping.appendfsync
        ) as redis_nodes,
    ):
        environ = {**ENVIRONMENT, **keeping.environment, "REDIS_URL": redis_nodes.url(PARTITIONS)}
        with local_cluster(folder / "data", *_FEW_PROCESSES, "--quiet", environ=environ) as cluster:
            nodes = Nodes(redis_nodes, PARTITIONS, thread)
            system = ClusterUnderTest(cluster, ledger(REGIONS, PARTITIONS), tokens_of(cluster), nodes=nodes)
            system.ledger.boards = define_boards(cluster.url, system.tokens)
            yield system
