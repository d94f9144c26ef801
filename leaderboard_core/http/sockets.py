"""The listening sockets of a process: its port, and a Unix socket for the other processes of its machine."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path

from leaderboard_core.settings import SettingsError

BACKLOG = 2048
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Names under which the processes of one machine reach each other."""
_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
_PROBE_SECONDS = 1.0


def listen(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket. Raises SettingsError when the port cannot be had."""
    try:
        return _listen(host, port)
    except OSError as error:
        raise SettingsError(
            f"HOST/PORT: cannot listen on {host}:{port}: {error.strerror}. "
            "Another process may have the port; stop it or set PORT to a free one."
        ) from error


def is_reached_locally(host: str) -> bool:
    """Tell whether a server bound to `host` is reached at 127.0.0.1 from its own machine."""
    return host in LOOPBACK or host in _ANY_ADDRESS


def local_socket(folder: Path, port: int) -> Path:
    """Return the path of the Unix socket that belongs to the server on `port`."""
    return folder / f"{port}.sock"


def listen_locally(path: Path) -> socket.socket:
    """Open a listening Unix socket, replacing a stale one of an earlier process. Raises SettingsError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists():
            _check_stale(path)
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o666)  # as free as the port: the front proxy runs as another user
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"SOCKET_DIR: cannot listen on {path}: {error.strerror or error}. "
            "Set it to a folder that exists, may be written to and has a short name, or unset it."
        ) from error
    listener.setblocking(False)
    return listener


def _check_stale(path: Path) -> None:
    """Raise OSError if the path is not a socket, or if another process listens there."""
    if not path.is_socket():
        raise FileExistsError(errno.EEXIST, "it is there and not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(ConnectionRefusedError):
        probe.settimeout(_PROBE_SECONDS)
        probe.connect(str(path))
        raise OSError(errno.EADDRINUSE, "another process listens there")


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
