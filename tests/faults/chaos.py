"""Signals to the processes of one cluster, and a diary of them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.acceptance.cluster import LocalCluster
from tests.faults.ledger import Violation

RESTART_SECONDS = 60.0
_POLL_SECONDS = 0.02


class Chaos:
    """Kills, stops and pauses processes by their names in cluster.json. `kills` counts them by kind and signal."""

    def __init__(self, cluster: LocalCluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self.kills: Counter[str] = Counter()
        self.pauses: Counter[str] = Counter()
        self.diary: list[str] = []
        self._frozen: dict[str, list[int]] = {}
        self._began = time.monotonic()

    def note(self, text: str) -> None:
        """Write into the diary, which is part of the evidence."""
        self.diary.append(f"{time.monotonic() - self._began:7.2f} s  {text}")

    def names(self, *kinds: str) -> list[str]:
        """The processes of these kinds (`worker`, `service`, `gateway`, `redis`, `postgres`, `nginx`)."""
        return [name for name in self.cluster.state["pids"] if name.partition("-")[0] in kinds]

    def pid(self, name: str) -> int | None:
        """Its pid; None between a death and the restart."""
        pid: int | None = self.cluster.state["pids"][name]
        return pid if pid is not None and _alive(pid) else None

    async def running(self, name: str) -> int:
        """Wait until the supervisor has started it (again); its pid."""
        deadline = time.monotonic() + RESTART_SECONDS
        while (pid := self.pid(name)) is None:
            if time.monotonic() > deadline:
                raise Violation(f"{name} was not restarted within {RESTART_SECONDS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)
        return pid

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """End a process by a signal and wait until it is gone; returns the pid that it had."""
        pid = await self.running(name)
        self.note(f"{number.name} to {name} ({pid})")
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            self.kills[f"{name.partition('-')[0]} {number.name}"] += 1
        if number is signal.SIGKILL:
            self._frozen.pop(name, None)
        deadline = time.monotonic() + RESTART_SECONDS
        while _alive(pid):
            if time.monotonic() > deadline:
                raise Violation(f"{name} is still there {RESTART_SECONDS:.0f} s after {number.name}")
            await asyncio.sleep(_POLL_SECONDS)
        return pid

    def kill_child(self, name: str) -> None:
        """kill -9 one of the processes that a process has started."""
        pid = self.pid(name)
        children = descendants(pid) if pid is not None else []
        if children:
            child = self.rng.choice(sorted(children))
            self.note(f"SIGKILL to {child}, a child of {name}")
            _signal_all([child], signal.SIGKILL)
            self.kills[f"{name} child SIGKILL"] += 1

    async def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while; of Postgres every process."""
        self.freeze(name)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.thaw(name)

    def freeze(self, name: str) -> None:
        """SIGSTOP a process and its children."""
        pid = self.pid(name)
        pids = [] if pid is None else [pid, *descendants(pid)]
        self.note(f"SIGSTOP to {name} ({pids})")
        self.pauses[name.partition("-")[0]] += 1
        self._frozen[name] = pids
        _signal_all(pids, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT what was frozen; what has died meanwhile needs none."""
        pids = self._frozen.pop(name, [])
        if pids:
            self.note(f"SIGCONT to {name}")
            _signal_all(pids, signal.SIGCONT)

    def thaw_all(self) -> None:
        """SIGCONT whatever an act that broke off has left frozen."""
        for name in list(self._frozen):
            self.thaw(name)


def descendants(pid: int) -> list[int]:
    """The children of a process, theirs, and so on; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, open_ends = [], [pid]
    while open_ends:
        born = children.get(open_ends.pop(), [])
        found += born
        open_ends += born
    return found


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return Path("/proc").is_dir() is False
