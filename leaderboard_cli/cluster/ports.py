"""Check whether TCP ports on loopback are free, and choose free ones."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from leaderboard_cli.cluster.errors import PortBusyError
from leaderboard_cli.cluster.reservations import reservations

LOOPBACK = "127.0.0.1"
# Below the ports of outgoing connections on Linux and macOS, and below the node ports of Kubernetes.
_CHOICE = range(20_000, 30_000)
_LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_LOCAL_PORTS = range(32_768, 65_536)


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
    """Return `count` ports on which nothing listens.

    No other call returns them as long as this process lives, neither here nor in another process of this user; and
    as far as there are others they are none that the kernel gives to outgoing connections. Raises PortBusyError.
    """
    found = list(islice(filter(_take, _candidates()), count))
    if len(found) < count:
        raise PortBusyError(f"no port from {_CHOICE[0]} to {_CHOICE[-1]} is free any more")
    return found


def _candidates() -> Iterator[int]:
    """Yield every port of the choice, those of outgoing connections last."""
    outgoing = _local_ports()
    start = secrets.randbelow(len(_CHOICE))
    order = (*_CHOICE[start:], *_CHOICE[:start])
    yield from (port for port in order if port not in outgoing)
    yield from (port for port in order if port in outgoing)


def _take(port: int) -> bool:
    return reservations().take(port) and _is_unused(port)


def _local_ports() -> range:
    """Return the ports that the kernel gives to outgoing connections."""
    try:
        first, last = _LOCAL_PORTS.read_text().split()
    except OSError:
        return _USUAL_LOCAL_PORTS
    return range(int(first), int(last) + 1)


def _is_unused(port: int) -> bool:
    """Tell whether nothing has the port, not even connections in TIME_WAIT."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


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
