"""Read the log files of the supervised processes: their last lines, and new lines as they come."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MAX_LOG_BYTES = 64 * 1024 * 1024
_TAIL_BYTES = 64 * 1024
_READ_BYTES = 256 * 1024


def log_path(data_dir: Path, name: str) -> Path:
    """Return the log file of the process `name` of the cluster in `data_dir`."""
    return data_dir.absolute() / "logs" / f"{name}.log"


def tail(path: Path, lines: int = 20, *, after: int = 0) -> list[str]:
    """Return the last `lines` lines of a file, of those `after` so many bytes; none when it does not exist."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _TAIL_BYTES, after if after <= size else 0))
            return log.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def rotate(path: Path) -> None:
    """Keep the log of the previous run as `<name>.log.1` and start an empty one."""
    if path.exists():
        path.replace(path.with_name(f"{path.name}.1"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


class Follower:
    """Forward the complete lines appended to a log since the last call of `poll()`.

    Processes write to files rather than to a pipe: a terminal that is paused, or a supervisor that is killed,
    must not make them block or break. Without a sink it only keeps the file from growing too large.
    """

    def __init__(self, name: str, path: Path, sink: Callable[[str, list[str]], None] | None) -> None:
        self.name = name
        self._path = path
        self._sink = sink
        self._offset = 0
        self._rest = b""

    def poll(self) -> bool:
        """Pass new lines to the sink; return False when there are none.

        Reads a limited amount at a time, and empties a file that has grown too large (`<name>.log.1` keeps it).
        """
        try:
            with self._path.open("rb") as log:
                size = os.fstat(log.fileno()).st_size
                if size < self._offset:
                    self._offset, self._rest = 0, b""
                data = b""
                if self._sink is None:
                    self._offset = size
                else:
                    log.seek(self._offset)
                    data = log.read(_READ_BYTES)
        except FileNotFoundError:
            return False
        self._offset += len(data)
        if data and self._sink is not None:
            *complete, self._rest = (self._rest + data).split(b"\n")
            if complete:
                self._sink(self.name, [line.decode(errors="replace") for line in complete])
        if self._offset > MAX_LOG_BYTES and self._offset >= size:
            kept = self._path.with_name(f"{self._path.name}.1")
            try:
                shutil.copyfile(self._path, kept)
            except OSError:  # a full disk needs the room more than anybody needs old lines
                with suppress(OSError):
                    kept.unlink(missing_ok=True)
                if self._sink is not None:
                    self._sink(self.name, [f"(emptied {self._path} without a copy: the disk takes none)"])
            os.truncate(self._path, 0)
            self._offset = 0
        return bool(data)
