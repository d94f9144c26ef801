"""Unix sockets between processes of one machine: taken where they are, never needed, and never in the way."""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from leaderboard_cli.cluster.binaries import Servers, find_nginx
from leaderboard_cli.cluster.nginx_server import NginxServer
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.server import running
from leaderboard_core.http_server import local_socket
from tests.integration.gateway_support import Service, bearer, gateway, says, services
from tests.integration.test_gateway_process import start
from tests.support.waiting import eventually

BY_SOCKET, BY_PORT = b'{"by":"socket"}', b'{"by":"port"}'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name is short, and which NGINX's worker may enter."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@asynccontextmanager
async def listening_at(service: Service, path: Path) -> AsyncIterator[None]:
    server = await asyncio.start_unix_server(service._serve, path)
    try:
        yield
    finally:
        server.close()


async def test_a_gateway_asks_through_the_socket_and_else_through_the_port(folder: Path) -> None:
    async with services(2) as (by_port, behind_socket):
        by_port.behave, behind_socket.behave = says(200, BY_PORT), says(200, BY_SOCKET)
        path = local_socket(folder, by_port.port)
        async with listening_at(behind_socket, path), gateway(by_port, socket_dir=folder) as gate:
            answer = await gate.get("/top")
            assert answer.content == BY_SOCKET
            assert answer.headers["x-upstream-addr"] == by_port.address, "the socket is another way to the same service"
        assert path.exists(), "as one that a killed process leaves"
        async with gateway(by_port, socket_dir=folder) as gate:
            assert (await gate.get("/top")).content == BY_PORT, "nobody listens at the socket"
        path.unlink()
        async with gateway(by_port, socket_dir=folder) as gate:
            assert (await gate.get("/top")).content == BY_PORT, "there is no socket"


async def test_a_service_that_comes_back_without_its_socket_is_reached(folder: Path) -> None:
    async with services(2) as (by_port, behind_socket):
        by_port.behave, behind_socket.behave = says(200, BY_PORT), says(200, BY_SOCKET)
        async with gateway(by_port, socket_dir=folder) as gate:
            async with listening_at(behind_socket, local_socket(folder, by_port.port)):
                assert (await gate.get("/top")).content == BY_SOCKET
            await behind_socket.close_connections()
            answer = await gate.post("/score/add", json={"delta": 1}, headers=bearer())
            assert (answer.status_code, answer.content) == (200, BY_PORT)
            assert len(by_port.requests) == 1


async def test_a_process_listens_at_its_socket_and_takes_it_away(folder: Path) -> None:
    async with services(1) as (service,):
        (port,) = find_free_ports(1)
        environ = {"PORT": str(port), "LEADERBOARD_SERVICE_URLS": service.url, "SOCKET_DIR": str(folder)}
        path = local_socket(folder, port)
        for number in (signal.SIGKILL, signal.SIGTERM):
            process = await start(**environ)
            try:
                assert (await _health(path, process)).status_code == 200
            finally:
                process.send_signal(number)
                await process.communicate()
            assert path.exists() == (number is signal.SIGKILL)


async def test_a_process_that_ends_leaves_the_socket_of_its_successor(folder: Path) -> None:
    async with services(1) as (service,):
        (port,) = find_free_ports(1)
        path = local_socket(folder, port)
        process = await start(PORT=str(port), LEADERBOARD_SERVICE_URLS=service.url, SOCKET_DIR=str(folder))
        try:
            await _health(path, process)
            path.rename(folder / "earlier")  # or the new one might get the same inode
            async with listening_at(service, path):
                process.terminate()
                await process.communicate()
                assert path.exists()
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.parametrize("wrong", ["missing", "l" * 120])
async def test_a_folder_that_cannot_be_used_is_a_readable_message(folder: Path, wrong: str) -> None:
    process = await start(PORT=str(find_free_ports(1)[0]), SOCKET_DIR=str(folder / wrong))
    _, complaint = await process.communicate()
    assert process.returncode == 1
    assert "SOCKET_DIR" in complaint.decode()
    assert "Traceback" not in complaint.decode()


async def test_nginx_reaches_gateways_through_their_sockets_and_names_them_by_port(folder: Path) -> None:
    with ExitStack() as stack:
        async with services(1) as (service,):
            path = local_socket(folder, 4001)
            gone = local_socket(folder, 4002)
            with socket.socket(socket.AF_UNIX) as left_over:
                left_over.bind(str(gone))
            nginx = find_nginx(Servers.WHEELS)
            addresses = [f"unix:{path}", f"unix:{gone}"]
            server = NginxServer(nginx, folder, find_free_ports(1)[0], addresses, {})
            async with listening_at(service, path):
                path.chmod(0o666)
                await asyncio.to_thread(stack.enter_context, running(server))
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
                    for _ in range(4):
                        answer = await client.post("/score/add", content=b"{}")
                        assert answer.status_code == 200
                        assert answer.headers["x-upstream-addr"] == "127.0.0.1:4001"
                assert service.requests[0].get("host") == f"127.0.0.1:{server.port}"


async def _health(path: Path, process: asyncio.subprocess.Process) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(base_url="http://localhost", transport=transport) as client:

        async def ask() -> httpx.Response | None:
            assert process.returncode is None, await process.communicate()
            try:
                return await client.get("/health")
            except httpx.TransportError:
                return None

        answer = await eventually(ask, "an answer at the socket", seconds=20)
        assert answer is not None
        return answer
