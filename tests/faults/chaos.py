"""Signals to the processes of one cluster, and an event log of them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from leaderboard_cli.cluster.process_tree import descendants
from tests.acceptance.cluster import Cluster
from tests.support.waiting import eventually

RESTART_SECONDS = 60.0
SHUTDOWN_SECONDS = 10.0
"""Then Postgres gets SIGQUIT, and after that SIGKILL: 18 may never end, and serve nobody, when a signal comes in the
recovery after a crash, or just at the end of that."""


class Chaos:
    """Kill, stop and pause processes by their names in cluster.json; `kills` counts by kind and signal."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self.kills: Counter[str] = Counter()
        self.pauses: Counter[str] = Counter()
        self.event_log: list[str] = []
        self._frozen: dict[str, list[int]] = {}
        self._began = time.monotonic()

    def log(self, text: str) -> None:
        """Append to the event log, which is part of the evidence."""
        self.event_log.append(f"{time.monotonic() - self._began:7.2f} s  {text}")

    def names(self, *kinds: str) -> list[str]:
        """List the processes of these kinds (`worker`, `service`, `gateway`, `redis`, `postgres`, `nginx`)."""
        return [name for name in self.cluster.state["pids"] if name.partition("-")[0] in kinds]

    def pid(self, name: str) -> int | None:
        """Return its pid; None between its end and the restart."""
        pid: int | None = self.cluster.state["pids"][name]
        return pid if pid is not None and _alive(pid) else None

    async def running(self, name: str) -> int:
        """Wait until the supervisor has started it (again), and return its pid."""
        return await eventually(lambda: self.pid(name) or 0, f"the restart of {name}", seconds=RESTART_SECONDS)

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """End a process by a signal and wait until it is gone; return the pid that it had."""
        pid = await self.running(name)
        self.log(f"{number.name} to {name} ({pid})")
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            self.kills[f"{name.partition('-')[0]} {number.name}"] += 1
        if number is signal.SIGKILL:
            self.thaw(name)  # what it leaves behind: a stopped child of Postgres would keep the next one from starting
        if name == "postgres":
            await self._follow_shutdown(pid, number)
        await eventually(lambda: not _alive(pid), f"the end of {name} by {number.name}", seconds=RESTART_SECONDS)
        return pid

    async def _follow_shutdown(self, pid: int, number: signal.Signals) -> None:
        """Do what `leaderboard up` does when it stops Postgres."""
        harder = {signal.SIGINT: (signal.SIGQUIT, signal.SIGKILL), signal.SIGQUIT: (signal.SIGKILL,)}
        for following in harder.get(number, ()):
            try:
                await eventually(lambda: not _alive(pid), "the end of a shutdown", seconds=SHUTDOWN_SECONDS)
                return
            except AssertionError:
                self.log(f"{following.name} to postgres ({pid}), which does not end by {number.name}")
                _signal_all([pid, *descendants(pid)] if following is signal.SIGKILL else [pid], following)

    def kill_child(self, name: str) -> None:
        """Send SIGKILL to a random child of a process."""
        pid = self.pid(name)
        children = descendants(pid) if pid is not None else []
        if children:
            child = self.rng.choice(sorted(children))
            self.log(f"SIGKILL to {child}, a child of {name}")
            _signal_all([child], signal.SIGKILL)
            self.kills[f"{name} child SIGKILL"] += 1

    async def pause(self, name: str, seconds: float) -> None:
        """Send SIGSTOP, and SIGCONT after `seconds`, to a process and its children."""
        self.freeze(name)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.thaw(name)

    def freeze(self, name: str) -> None:
        """Send SIGSTOP to a process and its children."""
        pid = self.pid(name)
        pids = [] if pid is None else [pid, *descendants(pid)]
        self.log(f"SIGSTOP to {name} ({pids})")
        self.pauses[name.partition("-")[0]] += 1
        self._frozen[name] = pids
        _signal_all(pids, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Send SIGCONT to what was frozen, if it is still alive."""
        pids = self._frozen.pop(name, [])
        if pids:
            self.log(f"SIGCONT to {name}")
            _signal_all(pids, signal.SIGCONT)

    def thaw_all(self) -> None:
        """Send SIGCONT to whatever a failed injection has left frozen."""
        for name in list(self._frozen):
            self.thaw(name)


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
