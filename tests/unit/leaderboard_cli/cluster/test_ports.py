"""Test finding free ports, and the message about busy ones."""

import socket

import pytest

from leaderboard_cli.cluster.errors import PortBusyError
from leaderboard_cli.cluster.ports import PortNeed, check_ports, find_free_ports, is_free


def test_free_ports_are_different_and_free() -> None:
    ports = find_free_ports(20)
    assert len(set(ports)) == 20
    assert all(map(is_free, ports))
    check_ports(PortNeed(port, f"process-{port}", "--port") for port in ports)


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
