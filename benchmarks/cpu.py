"""Read the CPU time of processes and their children from /proc, per kind of process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

KINDS = ("nginx", "gateway", "service", "redis", "worker", "postgres")
_TICK = os.sysconf("SC_CLK_TCK")


def parse_stat(text: str) -> tuple[int, int, int]:
    """Parse (parent's pid, ticks of its own, ticks of ended children it waited for) of a /proc/<pid>/stat line."""
    fields = text.rpartition(")")[2].split()  # the program's name, in brackets, may have anything in it
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def _all_stats() -> dict[int, tuple[int, int, int]]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                found[int(entry.name)] = parse_stat((entry / "stat").read_text("utf-8", "replace"))
    return found


def tree_ticks(stats: Mapping[int, tuple[int, int, int]], roots: Iterable[int]) -> int:
    """Sum the ticks of the processes `roots`, of their descendants, and of their ended children."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in stats.items():
        children.setdefault(parent, []).append(pid)
    total, waiting, seen = 0, list(roots), set[int]()
    while waiting:
        pid = waiting.pop()
        if pid in seen or pid not in stats:
            continue
        seen.add(pid)
        total += stats[pid][1] + stats[pid][2]
        waiting += children.get(pid, [])
    return total


def by_kind(pids: Mapping[str, int | None]) -> dict[str, list[int]]:
    """Group the pids of cluster.json by kind of process: `gateway-2` is a gateway."""
    kinds: dict[str, list[int]] = {}
    for name, pid in pids.items():
        kind, _, number = name.rpartition("-")
        if pid is not None:
            kinds.setdefault(kind if kind and number.isdigit() else name, []).append(pid)
    return kinds


def cpu_seconds(kinds: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Return the seconds of CPU used so far by each kind of process. Linux only: elsewhere {}."""
    if not Path("/proc/self/stat").exists():
        return {}
    stats = _all_stats()
    return {kind: tree_ticks(stats, pids) / _TICK for kind, pids in kinds.items()}


def microseconds_each(before: Mapping[str, float], after: Mapping[str, float], requests: int) -> dict[str, float]:
    """Compute the CPU µs per request in each kind of process between two readings."""
    return {kind: (after[kind] - before[kind]) * 1e6 / requests for kind in after} if requests else {}


def children_running(word: str) -> list[int]:
    """List the pids of this process's own children whose command line contains `word`. Linux only: elsewhere []."""
    if not Path("/proc/self/stat").exists():
        return []
    found = []
    for pid, (parent, _, _) in _all_stats().items():
        if parent == os.getpid():
            with suppress(OSError):
                if word in Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace"):
                    found.append(pid)
    return found
