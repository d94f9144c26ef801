"""Find and kill a process with its descendants, which may be in sessions of their own, as Postgres' are."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """List the descendants of a process that has not ended: those of one that has are nobody's."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found, open_ends = [], [pid]
    while open_ends:
        born = children.get(open_ends.pop(), [])
        found += born
        open_ends += born
    return found


def kill_group(pgid: int) -> None:
    """Send SIGKILL to what is left of a process group, if anything."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """Send SIGKILL to the leader of a process group, to its group, and to the descendants that are in others."""
    born = descendants(pid)  # before its end, with which they lose their parent
    kill_group(pid)
    for one in born:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)


def kill_in(folder: Path) -> list[int]:
    """Send SIGKILL to every process that works in a folder, as Postgres' do in that of its data; return which.

    Linux alone tells where a process works.
    """
    killed = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if link.readlink() == folder:
                os.kill(int(link.parent.name), signal.SIGKILL)
                killed.append(int(link.parent.name))
    return killed


def _parents() -> Iterator[tuple[int, int]]:
    """Yield each process with its parent."""
    if platform.system() == "Linux":
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, IndexError, ValueError):
                # The name in parentheses may hold spaces; after it come the state and the parent.
                yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
        return
    listed = subprocess.run(["/bin/ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        child, parent = line.split()
        yield int(child), int(parent)
