"""Check whether TCP ports on loopback are free, and choose free ones."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from leaderboard_cli.cluster.errors import PortBusyError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class PortNeed:
    """A port, the process that will listen on it, and the option of `leaderboard up` that changes it."""

    port: int
    name: str
    option: str


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on `host:port` now; connections in TIME_WAIT do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def find_free_ports(count: int) -> list[int]:
    """Return `count` different ports that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def check_ports(needs: Iterable[PortNeed]) -> None:
    """Raise PortBusyError naming every port of `needs` that is out of range, taken, or asked for twice."""
    problems: list[str] = []
    owners: dict[int, PortNeed] = {}
    for need in needs:
        first = owners.setdefault(need.port, need)
        if not 1 <= need.port <= 65535:
            problems.append(f"port {need.port} for {need.name} is out of range; change it with {need.option}")
        elif first is not need:
            problems.append(
                f"port {need.port} is wanted by both {first.name} and {need.name}; "
                f"change one with {first.option} or {need.option}"
            )
        elif not is_free(need.port):
            problems.append(
                f"port {need.port}, needed by {need.name}, is in use; "
                f"stop what uses it or choose another with {need.option}"
            )
    if problems:
        problems.append("(--free-ports chooses free ports for everything)")
        raise PortBusyError("\n".join(problems))
