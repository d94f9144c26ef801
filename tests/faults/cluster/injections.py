"""Inject faults into a cluster's nodes: a master dies, hangs, or hands a slot over."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.cluster.system import ClusterUnderTest
from tests.faults.harness import Harness
from tests.faults.injections import Injection
from tests.support.redis_cluster import Node

REPLACED, BACK = "master SIGKILL, its replica promoted", "master SIGKILL, back from its disk"
SHORTEST_LAG, LONGEST_LAG = 0.010, 0.050
"""For how long a master that is killed has had no link to its replica, in seconds."""
_LATEST_RETURN, _LATEST_MIDST = 0.3, 0.03
_WRITES_MEANWHILE, _MEANWHILE_SECONDS = 25, 2.0
_WHOLE_SECONDS, _SERVED_SECONDS = 60.0, 60.0


def replaced(*, behind: bool) -> Injection:
    """Make an injection that kills a master until its replica has been promoted; `behind`, that is some ms behind."""

    async def inject(harness: Harness) -> None:
        system = system_of(harness)
        victim = await _some_master(harness)
        async with _killed(harness, victim, behind=behind):
            await harness.until(lambda: system.nodes.is_replaced(victim), f"a successor of {victim.server.name}")
            await harness.more_writes(_WRITES_MEANWHILE, seconds=_MEANWHILE_SECONDS)
        await _served(harness)
        harness.chaos.kills[REPLACED + (", some ms behind" if behind else "")] += 1

    return inject


async def back_from_disk(harness: Harness) -> None:
    """Kill a master, and start it from its disk before anybody takes its place."""
    rng = harness.chaos.rng
    victim = await _some_master(harness)
    async with _killed(harness, victim, behind=rng.random() < 0.5):
        await asyncio.sleep(rng.uniform(0, _LATEST_RETURN))
    await _served(harness)
    harness.chaos.kills[BACK if await system_of(harness).nodes.run(lambda: victim.role) == "master" else REPLACED] += 1


async def killed_while_a_slot_moves(harness: Harness) -> None:
    """Kill one of two masters between which a slot moves, until its replica has been promoted."""
    system, rng = system_of(harness), harness.chaos.rng
    _, source, target = await _begin_move(harness)
    victim = rng.choice((source, target))
    await asyncio.sleep(rng.uniform(0, _LATEST_MIDST))
    async with _killed(harness, victim, behind=False):
        await harness.until(lambda: system.nodes.is_replaced(victim), f"a successor of {victim.server.name}")
    await _served(harness)
    harness.chaos.kills[f"{REPLACED}, while a slot moved"] += 1


async def paused_and_replaced(harness: Harness) -> None:
    """Stop a master until its replica has been promoted; it finds that out when it goes on."""
    system, chaos = system_of(harness), harness.chaos
    victim = await _some_master(harness)
    chaos.log(f"SIGSTOP to the master {victim.server.name}")
    await system.nodes.run(victim.signal, signal.SIGSTOP)
    try:
        await harness.until(lambda: system.nodes.is_replaced(victim), f"a successor of {victim.server.name}")
        await harness.more_writes(_WRITES_MEANWHILE, seconds=_MEANWHILE_SECONDS)
    finally:
        victim.signal(signal.SIGCONT)
        chaos.log(f"SIGCONT to {victim.server.name}")
    await _served(harness)
    chaos.pauses["master, its replica promoted"] += 1


async def slot_moved(harness: Harness) -> None:
    """Move a partition's slot to another master in one step, as Valkey 9 can."""
    system = system_of(harness)
    partition, source, target = await _begin_move(harness)

    async def arrived() -> bool:
        return await system.nodes.master_of(partition) is target

    await harness.until(arrived, f"partition {partition} on {target.server.name} instead of {source.server.name}")
    await _served(harness)
    harness.chaos.pauses["slot moved"] += 1


def system_of(harness: Harness) -> ClusterUnderTest:
    """The system with its nodes."""
    assert isinstance(harness.system, ClusterUnderTest)
    return harness.system


async def _some_master(harness: Harness) -> Node:
    """Choose the master of a partition."""
    system = system_of(harness)
    return await system.nodes.master_of(harness.chaos.rng.randrange(system.nodes.partitions))


async def _begin_move(harness: Harness) -> tuple[int, Node, Node]:
    system, rng = system_of(harness), harness.chaos.rng
    partition = rng.randrange(system.nodes.partitions)
    source = await system.nodes.master_of(partition)
    target = rng.choice([node for node in await system.nodes.masters() if node is not source])
    slot = system.nodes.slot(partition)
    harness.chaos.log(f"partition {partition} moves from {source.server.name} to {target.server.name}")
    await system.nodes.run(source.ask, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
    return partition, source, target


@asynccontextmanager
async def _killed(harness: Harness, victim: Node, *, behind: bool) -> AsyncIterator[None]:
    """Kill a master, `behind` when its link to its replica has been broken for some ms; start it in the end."""
    nodes, chaos = system_of(harness).nodes, harness.chaos
    chaos.log(f"SIGKILL to the master {victim.server.name}, its replica {'behind' if behind else 'in sync'}")
    try:
        if behind:
            replica = await nodes.replica_of(victim)
            await nodes.run(replica.signal, signal.SIGSTOP)
            try:
                await nodes.run(victim.ask, "CLIENT", "KILL", "TYPE", "replica")
                await asyncio.sleep(chaos.rng.uniform(SHORTEST_LAG, LONGEST_LAG))
                await nodes.run(victim.signal, signal.SIGKILL)
            finally:
                replica.signal(signal.SIGCONT)
        else:
            await nodes.run(victim.signal, signal.SIGKILL)
        await nodes.run(victim.stop)
        yield
    finally:
        await nodes.run(victim.stop)
        await nodes.run(victim.start)
        chaos.log(f"{victim.server.name} is started")


async def _served(harness: Harness) -> None:
    """Wait until the cluster is whole and every partition has acknowledged a write since."""
    system = system_of(harness)
    ledger, began = system.ledger, asyncio.get_running_loop().time()
    await harness.until(system.nodes.is_whole, "a whole cluster", seconds=_WHOLE_SECONDS)
    before, whole = ledger.by_partition.copy(), asyncio.get_running_loop().time() - began

    async def all_write() -> bool:
        return all(ledger.by_partition[part] > before[part] for part in range(ledger.partitions)) or bool(
            ledger.violations
        )

    await harness.until(all_write, "writes to every partition", seconds=_SERVED_SECONDS)
    took = asyncio.get_running_loop().time() - began
    harness.chaos.log(f"whole after {whole:.1f} s, served after {took:.1f} s")
