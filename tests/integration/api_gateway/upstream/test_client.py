"""The client towards the services on real connections, on both event loops: framing, timeouts, pooled connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest

from api_gateway.upstream import connection as connection_module
from api_gateway.upstream.answer import SMALL_ANSWER_BYTES, Answer
from api_gateway.upstream.client import UpstreamClient
from api_gateway.upstream.connection import KEEPALIVE_SECONDS, MAX_HEAD_BYTES, Connection
from api_gateway.upstream.connection_pool import ConnectionPool, ConnectionStats
from api_gateway.upstream.errors import BrokenOffError, ConnectFailedError, NotSentError, TimedOutError
from api_gateway.upstream.pool import Upstream
from tests.integration.api_gateway.support import (
    SOON,
    Request,
    Service,
    answer,
    full_port,
    raw_server,
    refusing_port,
    says,
    services,
)
from tests.support.waiting import eventually, settled

OK = "HTTP/1.1 200 OK\r\n"
HOST = [(b"host", b"h")]


class Asking:
    """A client and the service it asks."""

    def __init__(self, client: UpstreamClient, upstream: Upstream) -> None:
        self.client = client
        self.upstream = upstream

    async def __call__(self, method: str = "GET", target: bytes = b"/x", body: bytes | None = None) -> Answer:
        return await self.client.request(self.upstream, method, target, HOST, body)

    async def whole(self, method: str = "GET", target: bytes = b"/x", body: bytes | None = None) -> tuple[int, bytes]:
        given = await self(method, target, body)
        return given.status, await rest(given)

    @property
    def connections(self) -> ConnectionStats:
        return self.client.stats()[self.upstream]


class Asked(NamedTuple):
    """A request that was written."""

    connection: Connection
    waiter: asyncio.Future[Answer]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Every request in the order of writing."""
    found: list[Asked] = []
    ask = Connection.ask

    def spy(connection: Connection, request: bytes, *, head_only: bool) -> asyncio.Future[Answer]:
        waiter = ask(connection, request, head_only=head_only)
        found.append(Asked(connection, waiter))
        return waiter

    monkeypatch.setattr(Connection, "ask", spy)
    return found


async def rest(given: Answer) -> bytes:
    pieces = []
    while piece := await asyncio.wait_for(given.read(), SOON):
        pieces.append(piece)
    return b"".join(pieces)


@contextlib.asynccontextmanager
async def asking(to: Service | str, *, read_timeout: float = SOON, connect_timeout: float = 1) -> AsyncIterator[Asking]:
    client = UpstreamClient(connect_timeout=connect_timeout, read_timeout=read_timeout)
    client.start()
    try:
        yield Asking(client, Upstream(to if isinstance(to, str) else to.url))
    finally:
        await client.close()
        assert not any(each.open for each in client.stats().values()), "every connection is closed"


def then_silent(first: bytes) -> Callable[..., Any]:
    async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(first)
        await request.gone()
        return True

    return behave


def says_bytes(*pieces: bytes, gap: float = 0.005, close: bool = False) -> Callable[..., Any]:
    async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(gap)
            writer.write(piece)
            await writer.drain()
        return close

    return behave


CHUNKED = OK + "Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n"
WHOLE = {
    "chunked": ("GET", CHUNKED, 200, b"abc0123456789", False),
    "length": ("GET", OK + "A:\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "until close": ("GET", OK + "\r\nhello", 200, b"hello", True),
    "1.0": ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "interim": ("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + CHUNKED, 200,
                b"abc0123456789", False),
    "head": ("HEAD", OK + "Content-Length: 5\r\n\r\n", 200, b"", False),
    "head of chunked": ("HEAD", OK + "Transfer-Encoding: chunked\r\n\r\n", 200, b"", False),
    "204": ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, b"", False),
    "304": ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", False),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
async def test_an_answer_split_at_any_byte_is_the_same_answer(case: str) -> None:
    method, wire, status, body, close = WHOLE[case]
    data = wire.encode()
    async with services(1) as (service,), asking(service) as ask:

        async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
            at = int(request.target[1:])
            return bool(await says_bytes(data[:at], data[at:], close=close)(request, writer))

        service.behave = behave
        targets = [b"/%d" % at for at in range(1, len(data))]
        some = asyncio.Semaphore(30)

        async def one(target: bytes) -> tuple[int, bytes]:
            async with some:
                return await ask.whole(method, target)

        answers = await asyncio.gather(*(one(target) for target in targets))
        assert answers == [(status, body)] * len(targets)
        service.behave = says_bytes(*(data[at : at + 1] for at in range(len(data))), gap=0, close=close)
        assert await ask.whole(method) == (status, body)


async def test_only_the_last_head_crosses_and_no_trailer() -> None:
    async with services(1) as (service,), asking(service) as ask:
        for interim in (b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n", b""):
            service.behave = says_bytes(interim + CHUNKED.encode())
            given = await ask()
            assert (given.headers, given.content_length) == ([], None)
            await rest(given)
        assert service.connections == 1, "what was left of the first answer did not become part of the second"


BAD = {
    "both framings": OK + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings, other order": OK + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": OK + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "the same length twice": OK + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "list of lengths": OK + "Content-Length: 3, 3\r\n\r\nabc",
    "signed length": OK + "Content-Length: +3\r\n\r\nabc",
    "negative length": OK + "Content-Length: -3\r\n\r\nabc",
    "empty length": OK + "Content-Length:\r\n\r\nabc",
    "overflowing length": OK + f"Content-Length: {2**64 + 3}\r\n\r\nabc",
    "unknown coding": OK + "Transfer-Encoding: gzip\r\n\r\nabc",
    "two codings": OK + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": OK + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded header": OK + "A: 1\r\n b\r\nContent-Length: 0\r\n\r\n",
    "folded framing": OK + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "space before colon": OK + "Content-Length : 0\r\n\r\n",
    "nameless header": OK + ": 1\r\nContent-Length: 0\r\n\r\n",
    "bare LF": OK.replace("\r", "") + "Content-Length: 0\n\n",
    "bare CR": OK + "A: 1\rB: 2\r\nContent-Length: 0\r\n\r\n",
    "NUL": OK + "A: 1\x00\r\nContent-Length: 0\r\n\r\n",
    "bad chunk size": OK + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "negative chunk": OK + "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    "overflowing chunk": OK + "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
    "bare LF in chunks": OK + "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    "no HTTP": "hello\r\n\r\n",
    "empty lines first": "\r\n\r\n" + OK + "Content-Length: 0\r\n\r\n",
    "RTSP": "RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2": "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no version": "HTTP 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status 600": "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "switching protocols": "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "switching without a word": "HTTP/1.1 101 S\r\n\r\n",
    "interim answers without end": "HTTP/1.1 103 E\r\nLink: x\r\n\r\n" * 4000,
    "long head": OK + "A: b\r\n" * (MAX_HEAD_BYTES // 5) + "Content-Length: 0\r\n\r\n",
    "long header": OK + "A: " + "b" * MAX_HEAD_BYTES + "\r\nContent-Length: 0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
async def test_what_is_not_an_answer_is_none(case: str) -> None:
    async with services(1) as (service,), asking(service) as ask:
        service.behave = says_bytes(BAD[case].encode())
        with pytest.raises(BrokenOffError):
            await ask.whole()
        service.behave = says(200, b"next")
        assert await ask.whole() == (200, b"next")
        assert service.connections == 2, "the connection was not used again"


@pytest.mark.parametrize("unending", [b"X: y\r\n", b"1;a=b\r\n\r\n"])
async def test_trailers_without_end(unending: bytes) -> None:
    async with services(1) as (service,), asking(service) as ask:
        service.behave = says_bytes(
            OK.encode() + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + unending * 200_000
        )
        with pytest.raises(BrokenOffError):
            await ask.whole()


@pytest.mark.parametrize(
    ("method", "wire"),
    [
        ("GET", answer(200, b"mine") * 2),
        ("GET", answer(200, b"mine") + b"x"),
        ("GET", answer(200, b"mine") + answer(204, b"", length=False)),
        ("GET", answer(200, b"mine", "Connection: close") + b"x"),
        ("HEAD", answer(200, b"mine")),
        ("GET", answer(204, b"", "Content-Length: 5", length=False) + b"abcde"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
async def test_bytes_after_the_answer_are_nobodys_answer(method: str, wire: bytes, later: bool) -> None:
    async with services(1) as (service,), asking(service) as ask:
        head, end, tail = wire.partition(b"mine" if method == "GET" and b"mine" in wire else b"\r\n\r\n")
        service.behave = says_bytes(head + end, tail) if later else says_bytes(wire)
        status, body = await ask.whole(method)
        assert (status, body) in ((200, b"mine"), (200 if method == "HEAD" else 204, b""))
        if later:
            await eventually(lambda: not ask.connections.open, "the end of the connection")
        service.behave = says(200, b"next")
        assert await ask.whole() == (200, b"next")
        assert service.connections == 2


async def test_a_service_that_speaks_first_is_not_listened_to() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, b"for whom?"))
        await writer.drain()
        await reader.read()

    async with raw_server(greet) as url:
        connection = await ConnectionPool(Upstream(url), connect_timeout=1, read_timeout=SOON).connect()
        await eventually(connection.has_pending_input, "the greeting")
        await eventually(lambda: connection.closed, "the end of the connection")
        with pytest.raises(NotSentError):
            connection.ask(b"GET / HTTP/1.1\r\n\r\n", head_only=False)


async def test_a_new_connection_is_polled_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with services(1) as (service,), asking(service) as ask:
        monkeypatch.setattr(Connection, "has_pending_input", lambda connection: True)
        with pytest.raises(NotSentError):
            await ask("POST", body=b"{}")
        await eventually(lambda: not ask.connections.open, "the end of the connection")
        assert service.requests == []


@pytest.mark.parametrize(
    ("method", "wire", "pooled"),
    [
        ("GET", answer(200, b"x"), True),
        ("HEAD", answer(200, b""), True),
        ("HEAD", answer(200, b"", "Content-Length: 7", length=False), True),
        ("GET", answer(204, b"", length=False), True),
        ("GET", CHUNKED.encode(), True),
        ("GET", answer(200, b"x", "Connection: close"), False),
        ("GET", answer(200, b"x", "Connection: X-A, Close"), False),
        ("GET", answer(200, b"x").replace(b"/1.1", b"/1.0"), False),
        ("GET", answer(200, b"x", "Connection: keep-alive").replace(b"/1.1", b"/1.0"), True),
    ],
)
async def test_which_connections_are_pooled(method: str, wire: bytes, pooled: bool) -> None:
    async with services(1) as (service,), asking(service) as ask:
        service.behave = says_bytes(wire)
        for _ in range(3):
            await ask.whole(method)
        assert service.connections == (1 if pooled else 3)
        # A connection that is closed is gone a turn of the loop later.
        await eventually(lambda: ask.connections == ((1, 1) if pooled else (0, 0)), "the connections")


async def test_an_idle_connection_expires(asked: list[Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "KEEPALIVE_SECONDS", 0.05)
    async with services(1) as (service,), asking(service, read_timeout=0.5) as ask:
        await ask.whole()
        await eventually(lambda: not service.open_connections, "the close")
        assert ask.connections == (0, 0)
        await ask.whole()
        asked[1].connection.deadline = 0  # expired, but the timer has not run yet
        await ask.whole()
        assert asked[1].connection.closed
        assert service.connections == 3


async def test_a_connection_that_no_request_got_expires_too() -> None:
    async with services(1) as (service,):
        pool = ConnectionPool(Upstream(service.url), connect_timeout=1, read_timeout=SOON)
        connection = await pool.connect()
        assert connection.deadline <= asyncio.get_running_loop().time() + KEEPALIVE_SECONDS
        assert pool.overdue(connection.deadline - 0.1) == []
        assert pool.overdue(connection.deadline) == [connection]
        connection.on_timeout()
        await eventually(lambda: not pool.open, "the close")


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 2", answer(200, b"ab", "Content-Length: 9", length=False)])
async def test_silence_is_a_time_out(first: bytes) -> None:
    async with services(1) as (service,), asking(service, read_timeout=0.2) as ask:
        service.behave = then_silent(first)
        started_at = asyncio.get_running_loop().time()
        with pytest.raises(TimedOutError):
            await ask()
        assert 0.15 < asyncio.get_running_loop().time() - started_at < 2
        await eventually(lambda: not ask.connections.open, "the end of the connection")
        service.behave = says(200, b"next")
        assert await ask.whole() == (200, b"next")


async def test_silence_in_a_streamed_answer_is_a_time_out_after_what_came() -> None:
    async with services(1) as (service,), asking(service, read_timeout=0.2) as ask:
        service.behave = then_silent(CHUNKED.encode()[:-20])
        given = await ask()
        assert (await given.read()).startswith(b"abc")
        with pytest.raises(TimedOutError):
            await rest(given)


async def test_a_longer_limit_for_one_answer_leaves_that_of_the_next() -> None:
    data = CHUNKED.encode()
    async with services(1) as (service,), asking(service, read_timeout=0.2) as ask:
        service.behave = says_bytes(data[:-20], data[-20:], gap=0.5)
        given = await ask()
        given.set_read_timeout(SOON)
        assert await rest(given) == b"abc0123456789"
        service.behave = then_silent(b"")
        with pytest.raises(TimedOutError):
            await asyncio.wait_for(ask(), SOON)
        assert service.connections == 1


async def test_slow_is_not_silent() -> None:
    data = CHUNKED.encode()
    async with services(1) as (service,), asking(service, read_timeout=0.4) as ask:
        service.behave = says_bytes(*(data[at : at + 12] for at in range(0, len(data), 12)), gap=0.1)
        started_at = asyncio.get_running_loop().time()
        assert await ask.whole() == (200, b"abc0123456789")
        assert asyncio.get_running_loop().time() - started_at > 0.5, "longer than the limit, all in all"


async def test_a_connection_that_is_not_made_in_time() -> None:
    with full_port() as port:
        async with asking(f"http://127.0.0.1:{port}", connect_timeout=0.2) as ask:
            with pytest.raises(ConnectFailedError, match="within"):
                await ask()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "two.example", "gone.example"])
async def test_names_are_looked_up_and_every_address_tried(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def lookup(host: str, port: int, **kwargs: Any) -> Any:
        if host == "gone.example":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        if host == "two.example":
            return [*await real("127.0.0.2", port, **kwargs), *await real("127.0.0.1", port, **kwargs)]
        return await real(host, port, **kwargs)

    async with services(1) as (service,), asking(f"http://{name}:{service.port}") as ask:
        monkeypatch.setattr(loop, "getaddrinfo", lookup)
        if name == "gone.example":
            with pytest.raises(ConnectFailedError, match="no such name"):
                await ask()
        else:
            assert await ask.whole() == (200, b"{}")


async def test_ipv6() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(200, b"six", "Connection: close"))

    try:
        async with raw_server(once, "::1") as url, asking(url) as ask:
            assert await ask.whole() == (200, b"six")
    except OSError:
        pytest.skip("no IPv6 here")


async def test_a_refused_connection() -> None:
    with refusing_port() as port:
        async with asking(f"http://127.0.0.1:{port}") as ask:
            with pytest.raises(ConnectFailedError):
                await ask()


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


@pytest.mark.parametrize("with_reset", [False, True])
@pytest.mark.parametrize(
    "wire",
    [
        b"", b"HTTP/1.1 200 OK\r\nA", b"HTTP/1.1 103 E\r\n\r\n", answer(200, b"ab", "Content-Length: 9", length=False),
        CHUNKED.encode()[:-1], CHUNKED.encode()[:-40], b"HTTP/1.1 200 OK\r\n\r\nhello",
    ],
)  # fmt: skip
async def test_a_service_that_closes_in_the_middle(wire: bytes, with_reset: bool) -> None:
    async with services(1) as (service,), asking(service) as ask:

        async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
            writer.write(wire)
            await writer.drain()
            await asyncio.sleep(0.02)
            if with_reset:
                reset(writer)
            return True

        service.behave = behave
        if wire.endswith(b"hello") and not with_reset:
            assert await ask.whole() == (200, b"hello")
            return
        with pytest.raises(BrokenOffError):
            await ask.whole("POST", body=b"{}")
        assert len(service.requests) == 1


async def test_a_cancelled_request_takes_its_connection_along() -> None:
    async with services(1) as (service,), asking(service) as ask:
        asked, gone = asyncio.Event(), asyncio.Event()

        async def never(request: Request, writer: asyncio.StreamWriter) -> bool:
            asked.set()
            await request.gone()
            gone.set()
            return True

        service.behave = never
        task = asyncio.create_task(ask())
        await asyncio.wait_for(asked.wait(), SOON)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), SOON)
        service.behave = says(200, b"next")
        assert await ask.whole() == (200, b"next")


@pytest.mark.parametrize("wire", [answer(200, b"old"), answer(200, b"old", "Content-Length: 99999", length=False)])
async def test_a_request_cancelled_as_its_answer_comes(wire: bytes, asked: list[Asked]) -> None:
    async with services(1) as (service,), asking(service) as ask:
        for before in (True, False):
            go = asyncio.Event()

            async def hold(request: Request, writer: asyncio.StreamWriter, go: asyncio.Event = go) -> None:
                await go.wait()

            service.behave = hold
            task = asyncio.create_task(ask())
            await eventually(lambda: asked, "the request")
            connection, waiter = asked.pop()
            if before:
                task.cancel()
                assert waiter.cancelled()
                connection.data_received(wire)
            else:
                connection.data_received(wire)
                assert waiter.done()
                task.cancel()
            go.set()
            # What the next one asks in the same turn of the loop must not meet the old answer, nor be cut off.
            service.behave = says(200, b"next")
            assert await ask.whole() == (200, b"next")
            with pytest.raises(asyncio.CancelledError):
                await task
            asked.clear()
            assert connection.closed is (before or b"99999" in wire), "what is not read to its end is not pooled"


async def test_an_answer_that_breaks_before_it_is_read_is_not_complete(asked: list[Asked]) -> None:
    async with services(1) as (service,), asking(service) as ask:
        service.behave = then_silent(b"")
        task = asyncio.create_task(ask())
        await eventually(lambda: asked, "the request")
        [(connection, _)] = asked
        connection.data_received(CHUNKED.encode()[:-20])
        connection.eof_received()
        given = await task
        assert not given.complete
        assert (await given.read()).startswith(b"abc")
        with pytest.raises(BrokenOffError):
            await given.read()


async def test_many_requests_over_few_connections_each_get_their_own_answer() -> None:
    async with services(1) as (service,), asking(service) as ask:

        async def echo(request: Request, writer: asyncio.StreamWriter) -> None:
            if request.target.endswith("7"):
                await asyncio.sleep(0.001)
            writer.write(answer(200, request.target.encode() + request.body))

        service.behave = echo

        async def worker(number: int) -> None:
            for step in range(50):
                target = b"/%d-%d" % (number, step)
                if step % 2:
                    assert await ask.whole("POST", target, b"!") == (200, target + b"!")
                else:
                    assert await ask.whole("GET", target) == (200, target)

        await asyncio.gather(*(worker(number) for number in range(20)))
        assert len(service.requests) == 1000
        assert service.connections <= 20


async def test_a_large_body_arrives_whole_and_an_early_answer_is_not_followed_by_another() -> None:
    body = bytes(range(256)) * 4096 * 8
    async with services(1) as (service,), asking(service) as ask:
        assert await ask.whole("POST", body=body) == (200, b"{}")
        assert service.requests[0].body == body
        assert await ask.whole() == (200, b"{}")
        assert service.connections == 1

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(413, b"no"))
        await writer.drain()
        await asyncio.sleep(0.2)

    async with raw_server(refuse) as url, asking(url) as ask:
        assert await ask.whole("POST", body=body) == (413, b"no")
        assert ask.connections.idle == 0


async def test_a_reader_that_stops_stops_the_service() -> None:
    sent = 0

    async def endless(request: Request, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(OK.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(1000):
            writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            sent += 0x8000
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        return False

    # While the reader pauses, the read timeout does not run; that of another request does.
    async with services(1) as (service,), asking(service, read_timeout=0.2) as ask:
        service.behave = endless
        given = await ask()
        stalled = await settled(lambda: sent)
        service.behave = then_silent(b"")
        with pytest.raises(TimedOutError):
            await ask()
        assert sent == stalled < 1000 * 0x8000
        assert SMALL_ANSWER_BYTES <= given.buffered <= 2**19
        first = await given.read()
        assert await settled(lambda: sent) < 1000 * 0x8000, "it pauses again"
        assert len(first + await rest(given)) == 1000 * 0x8000
        assert ask.connections == (1, 1)
        service.behave = says(200, b"next")
        assert await ask.whole() == (200, b"next")
        assert service.connections == 2, "one for each of the first two requests"
