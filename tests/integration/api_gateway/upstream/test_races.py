"""Services that close just as they are asked, through the whole gateway: nothing is done twice."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from api_gateway.upstream.connection import Connection
from tests.integration.api_gateway.support import SOON, Request, answer, bearer, gateway, hang_up, services
from tests.support.waiting import settled

KEY = {"Idempotency-Key": "k-1"}


@dataclass
class Closing:
    """A service on a thread of its own, so that it can close while the gateway's event loop stands still.

    The first connection gives one answer, then closes when told to, over a FIN or an RST; the others serve on.
    """

    listener: socket.socket
    with_reset: bool
    close: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    served: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def close_now(self) -> None:
        """Returns when the close is in the gateway's kernel; blocks the event loop, on purpose."""
        self.close.set()
        assert self.closed.wait(SOON)

    def run(self) -> None:
        first = True
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(SOON)
                while request := self._read(connection):
                    if b" /health " in request:
                        connection.sendall(answer(200, b"{}", "Connection: close"))
                        break
                    self.served.append(request)
                    connection.sendall(answer(200, b"{}"))
                    if first:
                        break
                if b" /health " not in request and first:
                    first = False
                    self.close.wait(SOON)
                    if self.with_reset:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if not first:
                self.closed.set()

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        try:
            return connection.recv(65_536)
        except OSError:
            return b""


@contextmanager
def closing(*, with_reset: bool) -> Iterator[Closing]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = Closing(listener, with_reset)
        thread = threading.Thread(target=service.run, daemon=True)
        thread.start()
        yield service
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(SOON)
    assert not thread.is_alive()


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize("with_reset", [True, False])
@pytest.mark.parametrize(("method", "headers"), [("POST", {}), ("POST", KEY), ("GET", {})])
async def test_a_close_that_meets_the_request(
    method: str, headers: dict[str, str], with_reset: bool, noticed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The close is on this side, the loop has not seen it; if not `noticed`, it comes after the last poll, too."""
    with closing(with_reset=with_reset) as service:
        async with gateway(service.url) as gate:
            request = httpx.Request(method, f"http://127.0.0.1:{gate.port}/score/add", headers={**bearer(), **headers})
            assert (await gate.client.send(request)).status_code == 200
            ask = Connection.ask

            def meet(connection: Connection, *args: object, **kwargs: object) -> object:
                monkeypatch.undo()
                if not noticed:
                    service.close_now()
                return ask(connection, *args, **kwargs)  # type: ignore[arg-type]

            if noticed:
                service.close_now()
            monkeypatch.setattr(Connection, "ask", meet)
            response = await gate.client.send(request)
            # Of a FIN the kernel lets a write pass, and nobody can tell what became of it; after an RST it refuses.
            lost = method == "POST" and not headers and not noticed and not with_reset
            assert response.status_code == (502 if lost else 200)
            assert len(service.served) == (1 if lost else 2)
            labels = {"upstream": gate.parts.upstreams.upstreams[0].address}
            unsent = gate.metric("gateway_retries_total", reason="not_sent", **labels)
            assert unsent == (1 if with_reset and not noticed else 0)


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("count", [1, 3])
async def test_a_service_that_closes_at_random_does_nothing_twice(keyed: bool, count: int) -> None:
    """Services keep connections open for a random moment, as if they meant to hit the next request."""
    chance = random.Random(4)
    async with services(count) as some, gateway(*some) as gate:

        async def fickle(request: Request, writer: asyncio.StreamWriter) -> bool:
            writer.write(answer(200, b"{}"))
            if chance.random() < 0.5:
                return False
            await asyncio.sleep(chance.choice([0, 0, 0.0005, 0.001, 0.002]))
            if chance.random() < 0.5:
                writer.transport.abort()
            return True

        for service in some:
            service.behave = fickle
        statuses: dict[str, int] = {}

        async def worker(number: int) -> None:
            for step in range(60):
                body = f'{{"delta": 1, "n": "{number}-{step}"}}'
                headers = {**bearer(), **({"Idempotency-Key": f"{number}-{step}"} if keyed else {})}
                statuses[body] = (await gate.post("/score/add", content=body, headers=headers)).status_code
                await asyncio.sleep(chance.choice([0, 0.0005, 0.001]))

        await asyncio.gather(*(worker(number) for number in range(8)))
        delivered = Counter(request.body.decode() for service in some for request in service.requests)
        assert set(statuses.values()) <= ({200} if keyed else {200, 502})
        for body, status in statuses.items():
            if keyed:
                assert delivered[body] >= 1
            else:
                assert delivered[body] == 1 or (status, delivered[body]) == (502, 0)
        assert sum(status == 200 for status in statuses.values()) > 200


@pytest.mark.parametrize(("headers", "deliveries"), [({}, 1), (KEY, 2)])
async def test_a_service_that_closes_over_a_request_it_read(headers: dict[str, str], deliveries: int) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        await gate.get("/top")

        async def once(request: Request, writer: asyncio.StreamWriter) -> bool:
            if len(service.requests) == 2:
                return await hang_up(request, writer)
            writer.write(answer(200, b"{}"))
            return False

        service.behave = once
        response = await gate.post("/score/add", content=b"{}", headers={**bearer(), **headers})
        assert response.status_code == (200 if deliveries == 2 else 502)
        assert len(service.requests) == 1 + deliveries


@pytest.mark.parametrize(("method", "headers"), [("POST", KEY), ("GET", {})])
async def test_the_second_try_at_a_service_is_on_a_new_connection(method: str, headers: dict[str, str]) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        both = asyncio.Barrier(2)

        async def together(request: Request, writer: asyncio.StreamWriter) -> None:
            await both.wait()
            writer.write(answer(200, b"{}"))

        service.behave = together
        await asyncio.gather(gate.get("/top"), gate.get("/top"))
        old = {id(request.reader) for request in service.requests}

        async def gone_from_the_old(request: Request, writer: asyncio.StreamWriter) -> bool:
            if id(request.reader) not in old:
                writer.write(answer(200, b"new"))
            return id(request.reader) in old

        service.behave = gone_from_the_old
        response = await gate.request(method, "/score/add", headers={**bearer(), **headers})
        assert (len(old), response.status_code, response.content) == (2, 200, b"new")


async def test_a_slow_client_slows_the_service_and_misses_nothing() -> None:
    count, size = 400, 65_536
    async with services(1) as (service,), gateway(service) as gate:
        sent = 0

        async def plenty(request: Request, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(answer(200, b"", f"Content-Length: {count * size}", length=False))
            for number in range(count):
                writer.write(bytes([number % 251]) * size)
                sent += size
                await writer.drain()

        service.behave = plenty
        reader, writer = await gate.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /top HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert 0 < await settled(lambda: sent) < count * size, "the service has to wait"
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        heard = await asyncio.wait_for(reader.read(), 4 * SOON)
        writer.close()
        body = heard.partition(b"\r\n\r\n")[2]
        assert body == b"".join(bytes([number % 251]) * size for number in range(count))


@pytest.mark.parametrize(
    "head",
    [
        b"X-A: 1\r\n folded\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: +3\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"X A: 1\r\n",
        b"X-A : 1\r\n",
        b"X-A: 1\nX-B: 2\r\n",
        b"X-A: 1\rX-B: 2\r\n",
        b"X-A: 1\x00\r\n",
    ],
)
async def test_a_request_that_two_servers_could_read_differently_reaches_none(head: bytes) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        heard = await gate.raw(b"POST /auth/login HTTP/1.1\r\nHost: h\r\n" + head + b"\r\n3\r\nabc\r\n0\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 400 ")
        assert service.requests == []


@pytest.mark.parametrize("wire", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n" * 2])
async def test_interim_answers_are_passed_over(wire: bytes) -> None:
    async with services(1) as (service,), gateway(service) as gate:

        async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(wire)
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(answer(200, b"final"))

        service.behave = behave
        for _ in range(2):
            response = await gate.get("/top")
            assert (response.status_code, response.content) == (200, b"final")
            assert "link" not in response.headers
        assert service.connections == 2, "one for the health check, one that is pooled"
