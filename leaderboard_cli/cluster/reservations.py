"""Reserve TCP ports between the processes of one user, each until its process ends."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import threading
from functools import cache
from pathlib import Path


class Reservations:
    """Locks in one file, one byte for each port.

    Locks of byte ranges belong to the process: the kernel releases them at its end however it ends, and a child has
    none of them. They are gone too when the process closes any descriptor of the file, so it is opened once.
    """

    def __init__(self, path: Path) -> None:
        self._taken: set[int] = set()
        self._guard = threading.Lock()
        self._file = _open_own(path)

    def take(self, port: int) -> bool:
        """Reserve a port; tell whether nobody had it, this process included."""
        with self._guard:
            if port in self._taken or not self._lock(port):
                return False
            self._taken.add(port)
            return True

    def _lock(self, port: int) -> bool:
        if self._file is None:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True


@cache
def reservations() -> Reservations:
    """Return this process's reservations."""
    return Reservations(Path(tempfile.gettempdir()) / f"leaderboard-ports-{os.getuid()}.lock")


def _open_own(path: Path) -> int | None:
    """Open a file that only this user can open; None where somebody else got hold of its name.

    Then reservations hold inside this process alone: another user must not be able to keep ours from starting.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EISDIR, errno.ELOOP, errno.EPERM, errno.ENXIO):
            return None
        raise
    found = os.fstat(descriptor)
    if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
        os.close(descriptor)
        return None
    return descriptor
