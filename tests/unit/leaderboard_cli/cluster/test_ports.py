"""Test finding free ports, and the message about busy ones."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from leaderboard_cli.cluster import ports as module
from leaderboard_cli.cluster.errors import PortBusyError
from leaderboard_cli.cluster.ports import PortNeed, check_ports, find_free_ports, is_free


def test_free_ports_are_different_and_free() -> None:
    ports = find_free_ports(20)
    assert len(set(ports)) == 20
    assert all(map(is_free, ports))
    check_ports(PortNeed(port, f"process-{port}", "--port") for port in ports)


CHOOSE = """
import sys
from leaderboard_cli.cluster.ports import find_free_ports
for line in sys.stdin:
    print(*find_free_ports(int(line)), flush=True)
"""


class Chooser:
    """A process that chooses ports; those of one folder share their reservations."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHOOSE],
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Chooser:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def choose(self, count: int) -> set[int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return set(map(int, self.process.stdout.readline().split()))


def test_no_two_processes_get_the_same_port(tmp_path: Path) -> None:
    with Chooser(tmp_path) as second:
        with Chooser(tmp_path) as first:
            taken = first.choose(9000)
            others = second.choose(500)
            assert (len(taken), len(others)) == (9000, 500)
            assert not taken & others
        assert len(second.choose(9000)) == 9000, "a process that ended still has its ports"


def test_ports_of_outgoing_connections_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_the_kernel = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(module, "_LOCAL_PORTS", of_the_kernel)
    of_the_kernel.write_text("20000\t29899\n")
    assert all(port > 29_899 for port in find_free_ports(10))
    of_the_kernel.write_text("1024\t65535\n")
    assert len(find_free_ports(10)) == 10
    of_the_kernel.unlink()  # as on macOS
    assert all(port < 32_768 for port in find_free_ports(10))


def test_when_nothing_is_left_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHOICE", range(19_990, 19_993))
    with pytest.raises(PortBusyError, match="no port from 19990 to 19992"):
        find_free_ports(4)


def test_a_busy_port_is_named_with_its_process_and_the_option_to_change_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(PortBusyError) as raised:
            check_ports([PortNeed(port, "gateway-2", "--gateway-port")])
    message = str(raised.value)
    assert all(part in message for part in (str(port), "gateway-2", "--gateway-port", "--free-ports"))


def test_a_port_held_on_all_addresses_is_busy() -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        assert not is_free(holder.getsockname()[1])


def test_every_problem_is_told_at_once() -> None:
    (port,) = find_free_ports(1)
    needs = [
        PortNeed(port, "service-1", "--service-port"),
        PortNeed(port, "worker-1", "--worker-port"),
        PortNeed(65536, "gateway-3", "--gateway-port"),
    ]
    with pytest.raises(PortBusyError) as raised:
        check_ports(needs)
    message = str(raised.value)
    assert "service-1 and worker-1" in message
    assert "65536 for gateway-3 is out of range" in message
