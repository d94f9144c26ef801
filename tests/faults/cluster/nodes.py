"""Look at and signal the nodes of a Redis Cluster without holding up the load."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from leaderboard_core.redis.slots import slot_of, tag_of
from tests.support.redis_cluster import Cluster, Node

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Nodes:
    """The nodes of a cluster; `thread` outlives them, since a server ends with the thread that started it."""

    cluster: Cluster
    partitions: int
    thread: Executor

    async def run(self, do: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call what blocks in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, lambda: do(*args, **options))

    def slot(self, partition: int) -> int:
        """The slot of a partition."""
        return slot_of(tag_of(partition, self.partitions))

    async def master_of(self, partition: int) -> Node:
        """The master that has a partition."""
        return await self.run(self.cluster.owner, self.slot(partition))

    async def masters(self) -> list[Node]:
        """The masters that have slots, in the order of these."""
        return list(dict.fromkeys(node for _, _, node in sorted_by_slot(await self.run(self.cluster.owners))))

    async def replica_of(self, master: Node) -> Node:
        """The replica of a master."""

        def find() -> Node:
            for node in self.cluster.nodes:
                found = node.server.replication
                if found["role"] == "slave" and found["master_port"] == master.port:
                    return node
            raise ConnectionError(f"{master.server.name} has no replica")

        return await self.run(find)

    async def is_replaced(self, node: Node) -> bool:
        """Whether all others think that a node has no slots any more."""
        return all(one is not node for _, _, one in await self.run(self.cluster.owners, node))

    async def is_whole(self) -> bool:
        """Whether every node sees all slots served, and every replica is in sync."""
        return await self.run(self.cluster.whole.is_whole)

    async def kill(self, node: Node) -> None:
        """Send SIGKILL, and wait for the end."""
        await self.run(node.signal, signal.SIGKILL)
        await self.run(node.stop)


def sorted_by_slot(owners: list[tuple[int, int, Node]]) -> list[tuple[int, int, Node]]:
    """Sort ranges of slots; nodes have no order."""
    return sorted(owners, key=lambda one: one[0])
