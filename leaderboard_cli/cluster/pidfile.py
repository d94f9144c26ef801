"""Allow one supervisor per data folder, and record its processes so that the next one can end leftovers."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from leaderboard_cli.cluster.errors import AlreadyRunningError, ClusterError
from leaderboard_cli.cluster.process_tree import kill_tree
from leaderboard_cli.data_folder import LOCK_NAME

_TERM_SECONDS = 8.0
_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Recorded:
    """A started process: its pid, and the identity that a later process with the same pid lacks."""

    name: str
    pid: int
    identity: str


def identity_of(pid: int) -> str | None:
    """Identify a process by boot and start time; None when there is no such process."""
    if platform.system() == "Linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name in parentheses may hold spaces; after it come the state and, 19 further on, the start time.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else f"{boot}/{fields[19]}"
    listed = subprocess.run(
        ["/bin/ps", "-o", "lstart=,state=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return " ".join(listed[:-1]) if listed and not listed[-1].startswith("Z") else None


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Lock the data folder for this process. Raises AlreadyRunningError when another supervisor has it."""
    path = data_dir / LOCK_NAME
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise AlreadyRunningError(
                f"a cluster already runs on {data_dir} (pid {holder}); stop it, "
                "or start a second one with another --data-dir and --free-ports"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class PidFile:
    """The record in `<data folder>/pids.json`; only the holder of the folder's lock may use it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "pids.json"

    def write(self, processes: Iterable[tuple[str, int]]) -> None:
        """Replace the record by the given (name, pid) pairs."""
        records = [
            asdict(Recorded(name, pid, identity))
            for name, pid in processes
            if (identity := identity_of(pid)) is not None
        ]
        write_json(self._path, records)

    def read(self) -> list[Recorded]:
        """Read the last record. Raises ClusterError when the file has another format."""
        try:
            return [Recorded(**record) for record in json.loads(self._path.read_text())]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise ClusterError(f"{self._path} cannot be read ({error}); remove it") from error

    def end_leftovers(self) -> list[str]:
        """End the recorded processes that still run (SIGTERM, later SIGKILL) and return their names.

        A pid that now belongs to another process is left alone.
        """
        alive = [record for record in self.read() if identity_of(record.pid) == record.identity]
        for end, seconds in ((_terminate, _TERM_SECONDS), (kill_tree, _KILL_SECONDS)):
            for record in _living(alive):
                end(record.pid)
            deadline = time.monotonic() + seconds
            while _living(alive) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        if stubborn := _living(alive):
            names = ", ".join(f"{record.name} (pid {record.pid})" for record in stubborn)
            raise ClusterError(f"left over from the run before and not to be ended: {names}")
        self._path.unlink(missing_ok=True)
        return [record.name for record in alive]


def _terminate(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _living(records: Iterable[Recorded]) -> list[Recorded]:
    return [record for record in records if identity_of(record.pid) == record.identity]


def write_json(path: Path, value: object) -> None:
    """Replace a file atomically, readable by its owner only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(value, file, indent=2)
            file.write("\n")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
