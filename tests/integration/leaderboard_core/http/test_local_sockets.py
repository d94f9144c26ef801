"""Unix sockets between processes of one machine: taken where they are, never needed, and never in the way."""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from leaderboard_cli.cluster.binaries import Servers, find_nginx
from leaderboard_cli.cluster.nginx_server import NginxServer
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.server import running
from leaderboard_core.http.sockets import is_reached_locally, listen_locally, local_socket
from leaderboard_core.settings import SettingsError
from tests.integration.api_gateway.support import Request, Service, answer, bearer, gateway, says, services
from tests.integration.api_gateway.test_process import start
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
            found = await gate.get("/top")
            assert found.content == BY_SOCKET
            assert found.headers["x-upstream-addr"] == by_port.address, "the socket is another way to the same service"
        # As one that a killed process leaves; asyncio takes its own away from Python 3.13 on.
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
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
            found = await gate.post("/score/add", json={"delta": 1}, headers=bearer())
            assert (found.status_code, found.content) == (200, BY_PORT)
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


async def test_who_is_not_reached_at_loopback_has_no_socket(folder: Path) -> None:
    """It would take the place of who has the same port there."""
    assert not is_reached_locally("10.0.0.7")
    assert not is_reached_locally("127.0.0.2")
    assert all(map(is_reached_locally, ("127.0.0.1", "::1", "0.0.0.0", "::", "localhost")))


async def test_a_process_that_ends_leaves_the_socket_of_its_successor(folder: Path) -> None:
    """The successor has the port, and its own socket, while the predecessor still finishes a request."""
    async with services(1) as (service,):
        go = asyncio.Event()

        async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
            await go.wait()
            writer.write(answer(200, BY_PORT))

        service.behave = slow
        (port,) = find_free_ports(1)
        path = local_socket(folder, port)
        process = await start(PORT=str(port), LEADERBOARD_SERVICE_URLS=service.url, SOCKET_DIR=str(folder))
        try:
            await _health(path, process)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
                asked = asyncio.create_task(client.get("/top"))

                async def arrived() -> bool:
                    return bool(service.requests)

                await eventually(arrived)
                process.terminate()
                await eventually(partial(_refused, port), "the end of its listening", seconds=20)
                assert not path.exists()
                with listen_locally(path):
                    go.set()
                    assert (await asked).status_code == 200
                    await process.communicate()
                    assert path.exists()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def test_what_is_in_use_is_not_taken_away(folder: Path) -> None:
    path = local_socket(folder, 1)
    with listen_locally(path), pytest.raises(SettingsError, match=r"SOCKET_DIR.*another process listens"):
        listen_locally(path)
    listen_locally(path).close()
    path.unlink()
    path.write_text("a file of somebody's")
    with pytest.raises(SettingsError, match=r"SOCKET_DIR.*not a socket"):
        listen_locally(path)
    assert path.read_text() == "a file of somebody's"


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
            service.behave = says(200, b"{}", "X-Upstream-Addr: 127.0.0.1:5001")
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
                        found = await client.post("/score/add", content=b"{}")
                        assert found.status_code == 200
                        assert found.headers["x-upstream-addr"] == "127.0.0.1:4001"
                assert service.requests[0].get("host") == f"127.0.0.1:{server.port}"


async def _refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it waited to be accepted when the listening ended
    writer.close()
    return False


async def _health(path: Path, process: asyncio.subprocess.Process) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(base_url="http://localhost", transport=transport) as client:

        async def ask() -> httpx.Response | None:
            assert process.returncode is None, await process.communicate()
            try:
                return await client.get("/health")
            except httpx.TransportError:
                return None

        found = await eventually(ask, "an answer at the socket", seconds=20)
        assert found is not None
        return found
