"""The HTTP client towards the services, with its failures sorted by what may be repeated."""

from __future__ import annotations

import select
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from api_gateway.upstreams import Upstream

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

# Shorter than the services' own keep-alive time-out (75 s), so that the side that sends also is the side that
# closes: a connection is never closed by a service just as a request is written to it.
KEEPALIVE_SECONDS = 30
_ONE_PIECE_BYTES = 2**20
_PIECE_BYTES = 2**16
# With its head it stays under what the library writes without waiting for the connection to take it.
_ONE_WRITE_BYTES = 2**15


class UpstreamError(Exception):
    """A service gave no usable answer."""


class ConnectFailedError(UpstreamError):
    """No connection was made, so the service has not seen the request."""


class NotSentError(UpstreamError):
    """A kept connection had ended before anything was written to it."""


class BrokenOffError(UpstreamError):
    """The connection broke after the request may have been sent: it may or may not have been done."""


class TimedOutError(UpstreamError):
    """The service was silent for longer than the limit."""


class _Connector(aiohttp.TCPConnector):
    """Hands out a kept connection only if the service has not closed it in the meantime.

    The event loop learns of a close when it next polls; under load that is milliseconds late. A request
    written meanwhile would be lost, and one that must not be repeated would fail for no reason.
    """

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if not _has_news(connection):
                return connection
            connection.close()
        return None


def _has_news(connection: Connection) -> bool:
    """Whether an idle connection has something to read: nothing but its end is expected there."""
    transport = connection.transport
    if transport is None:
        return True
    poller = select.poll()
    poller.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poller.poll(0))


class UpstreamClient:
    """One pool of kept-alive connections to all services; times in seconds. Use `start` in a running loop."""

    def __init__(self, *, connect_timeout: float, read_timeout: float) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=connect_timeout, sock_connect=connect_timeout, sock_read=read_timeout
        )
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=10),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            max_line_size=65_536,
            max_field_size=65_536,
        )
        # The library would repeat PUT, DELETE and GET on the same service by itself; who is asked again, and
        # whether, is decided in one place: the proxy.
        self._session._retry_connection = False

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        upstream: Upstream,
        method: str,
        path: str,
        query: str,
        headers: list[tuple[str, str]],
        body: bytes | None,
    ) -> aiohttp.ClientResponse:
        """The head of the service's answer; `path` and `query` are sent as they are.

        The caller must read the answer to its end or close it.
        Raises ConnectFailedError, NotSentError, BrokenOffError or TimedOutError.
        """
        if self._session is None:
            raise RuntimeError("The client is not started.")
        scheme, _, _ = upstream.url.partition("://")
        url = URL.build(scheme=scheme, authority=upstream.address, path=path, query_string=query, encoded=True)
        data: Any = body
        upload = None if body is None else aiohttp.UploadTracker()
        if body is not None and len(body) > _ONE_PIECE_BYTES:
            headers = [*headers, ("content-length", str(len(body)))]
            data = _pieces(body)
        try:
            return await self._session.request(
                method, url, headers=headers, data=data, allow_redirects=False, upload_tracker=upload
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ConnectFailedError(describe(error)) from error
        except TimeoutError as error:
            raise TimedOutError(describe(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            if _wrote_nothing(error, body, upload):
                raise NotSentError(describe(error)) from error
            raise BrokenOffError(describe(error)) from error


async def read_all(response: aiohttp.ClientResponse) -> bytes:
    """The whole body of an answer. Raises BrokenOffError or TimedOutError."""
    try:
        return await response.read()
    except TimeoutError as error:
        raise TimedOutError(describe(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise BrokenOffError(describe(error)) from error


async def read_piece(response: aiohttp.ClientResponse) -> bytes:
    """What has arrived of a body, waiting for at least one byte; empty at its end. Raises as `read_all`."""
    try:
        return await response.content.readany()
    except TimeoutError as error:
        raise TimedOutError(describe(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise BrokenOffError(describe(error)) from error


def wait_without_limit(response: aiohttp.ClientResponse) -> None:
    """Let the pieces of an answer be as far apart as they like, as events are."""
    connection = response.connection
    if connection is not None and connection.protocol is not None:
        connection.protocol.read_timeout = None
        connection.protocol.start_timeout()


def _wrote_nothing(error: BaseException, body: bytes | None, upload: aiohttp.UploadTracker | None) -> bool:
    """Whether the connection ended before the request was written to it."""
    if body is None or upload is None:
        # The head is written in one go, before anything is waited for.
        return isinstance(error, aiohttp.ClientConnectionResetError)
    # So is a small request with its body, by a task that may come too late; a larger one may be sent in part.
    complete = upload.upload_complete
    return len(body) <= _ONE_WRITE_BYTES and complete.done() and complete.exception() is not None


def describe(error: BaseException) -> str:
    """One line for logs and `/health`."""
    return str(error) or type(error).__name__


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    view = memoryview(body)
    for start in range(0, len(body), _PIECE_BYTES):
        yield bytes(view[start : start + _PIECE_BYTES])
