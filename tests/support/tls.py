"""Put TLS before servers that have none: certificates of an authority of the test's own, and addresses that decrypt."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from leaderboard_cli.cluster.ports import LOOPBACK

_HANDSHAKE = b"\x16"
"""The first byte of a client that speaks TLS."""
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority with one server, that is 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "ca.pem"
        self._folder = folder
        (folder / "names").write_text(f"subjectAltName=IP:{LOOPBACK}\n")
        self._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=tests")
        self._openssl("req", *_KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
        self._openssl(
            *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", "server.pem", "-days", "2", "-extfile", "names"),
        )

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "server.pem", self._folder / "server.key")
        return context

    def _openssl(self, *words: str) -> None:
        subprocess.run(("openssl", *words), cwd=self._folder, check=True, capture_output=True, timeout=30)


class TlsFront:
    """The address of a server with TLS. It counts its connections by how they began.

    One that begins without TLS is passed on as it is: a Sentinel's, which gives the address that it watches to others.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._server_port = port
        self._context = context
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self.encrypted = 0
        self.plain = 0
        self._tasks = {asyncio.create_task(self._accept())}

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            task = asyncio.create_task(self._pass_on(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with client, suppress(OSError):
            client.setblocking(False)
            encrypted = await _first_byte(client) == _HANDSHAKE
            self.encrypted += encrypted
            self.plain += not encrypted
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, client, ssl=self._context if encrypted else None
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._server_port)
            pumps = [asyncio.create_task(_pump(*ends)) for ends in ((reader, server_writer), (server_reader, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                for one in (writer, server_writer):
                    one.transport.abort()


@asynccontextmanager
async def tls_before(*ports: int, authority: Authority) -> AsyncIterator[list[TlsFront]]:
    """Put TLS before servers on loopback, in their order."""
    context = authority.server_context()
    fronts = [TlsFront(port, context) for port in ports]
    try:
        yield fronts
    finally:
        for front in fronts:
            await front.close()


async def _first_byte(client: socket.socket) -> bytes:
    """Look at what the client sends first, and leave it there."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(client, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(client)
    return client.recv(1, socket.MSG_PEEK)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
