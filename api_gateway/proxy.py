"""One request to a service and its answer back: attempts, repeats, and streaming."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import aiohttp

from api_gateway import client
from api_gateway.asgi import ClientGoneError, Receive, Scope, Send
from api_gateway.body import read_body
from api_gateway.headers import RequestHead, response_headers
from api_gateway.observe import Exchange, Metrics
from api_gateway.upstreams import Pool, Upstream
from leaderboard_core.errors import BadGateway, GatewayTimeout, Unavailable

logger = logging.getLogger(__name__)

SMALL_ANSWER_BYTES = 65_536
"""Answers up to this size are read whole before the client sees any of them, and so can still be replaced."""

_BODILESS = frozenset({204, 304})
_MAY_HAVE_BEEN_DONE = "The leaderboard service broke off; the request may or may not have been done."


class Proxy:
    """Gives requests to the pool's services; `stopping` ends event streams when the process stops."""

    def __init__(
        self,
        pool: Pool,
        upstreams: client.UpstreamClient,
        metrics: Metrics,
        *,
        max_body_bytes: int,
        client_timeout: float,
    ) -> None:
        self._max_body = max_body_bytes
        self._client_timeout = client_timeout
        self._pool = pool
        self._client = upstreams
        self._metrics = metrics
        self.stopping = asyncio.Event()

    async def forward(self, scope: Scope, receive: Receive, send: Send, head: RequestHead, exchange: Exchange) -> None:
        """Answer one request with a service's answer.

        Raises PayloadTooLarge, RequestTimeout, BadGateway, Unavailable, GatewayTimeout or ClientGoneError; when
        `exchange.response_started` is set by then, the answer is cut off and cannot be replaced.
        """
        body: bytes | None = None
        if head.has_body:
            body = await read_body(receive, max_bytes=self._max_body, timeout=self._client_timeout)
        response, small = await self._ask(scope, head, body, exchange)
        try:
            drop_length = response.status in _BODILESS
            headers = response_headers(
                response.raw_headers,
                request_id=head.request_id,
                upstream_address=exchange.upstream.address if exchange.upstream else "",
                drop_length=drop_length,
            )
            if small and "content-length" not in response.headers:
                headers.append((b"content-length", b"%d" % len(small)))
            exchange.status = response.status
            exchange.response_started = True
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            if small is not None:
                await send({"type": "http.response.body", "body": small, "more_body": False})
            else:
                await self._stream(response, receive, send)
        finally:
            response.close()

    async def _ask(
        self, scope: Scope, head: RequestHead, body: bytes | None, exchange: Exchange
    ) -> tuple[aiohttp.ClientResponse, bytes | None]:
        """The first service's answer that came, with its body if that is small."""
        method: str = scope["method"]
        path = scope["raw_path"].decode("latin-1") or "/"
        query = scope["query_string"].decode("latin-1")
        repeatable = may_repeat(method, scope["path"], has_key=head.has_idempotency_key)
        tried: list[Upstream] = []
        again = True
        failure: client.UpstreamError | None = None
        while True:
            upstream = self._pool.pick(tried)
            if upstream is None and again and isinstance(failure, client.BrokenOffError | client.NotSentError):
                # Every service was asked once. A kept connection can break because its service was restarted,
                # so each may be asked once more, on a new one.
                again = False
                tried.clear()
                upstream = self._pool.pick()
            if upstream is None:
                raise _gateway_error(failure)
            if failure is not None:
                exchange.retries += 1
            tried.append(upstream)
            exchange.upstream = upstream
            started_at = perf_counter()
            try:
                response = await self._client.request(upstream, method, path, query, head.forward, body)
                self._metrics.upstream_answered(upstream, perf_counter() - started_at)
                self._pool.answered(upstream)
                if not _is_small(response, method):
                    return response, None
                try:
                    return response, await client.read_all(response)
                except client.UpstreamError:
                    response.close()
                    raise
            except client.ConnectFailedError as error:
                self._pool.connect_failed(upstream, str(error))
                self._metrics.retried(upstream, "connect")
                if not isinstance(failure, client.BrokenOffError):
                    failure = error
            except client.NotSentError as error:
                self._metrics.retried(upstream, "not_sent")
                if not isinstance(failure, client.BrokenOffError):
                    failure = error
            except client.BrokenOffError as error:
                logger.warning("upstream broke off", extra={"upstream": upstream.address, "reason": str(error)})
                if not repeatable:
                    raise BadGateway(_MAY_HAVE_BEEN_DONE) from error
                self._metrics.retried(upstream, "broken")
                failure = error
            except client.TimedOutError as error:
                raise GatewayTimeout from error

    async def _stream(self, response: aiohttp.ClientResponse, receive: Receive, send: Send) -> None:
        """Pass a body on piece by piece, until it ends, the client leaves or, for events, the gateway stops."""
        events = response.headers.get("content-type", "").startswith("text/event-stream")
        if events:
            client.wait_without_limit(response)
        pump = asyncio.create_task(self._pump(response, send))
        ends: list[asyncio.Task[Any]] = [pump, asyncio.create_task(_until_gone(receive))]
        if events:
            ends.append(asyncio.create_task(self.stopping.wait()))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not pump.done():
                if not self.stopping.is_set():
                    raise ClientGoneError
            else:
                pump.result()
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, response: aiohttp.ClientResponse, send: Send) -> None:
        try:
            while piece := await client.read_piece(response):
                async with asyncio.timeout(self._client_timeout):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise ClientGoneError from None
        except client.TimedOutError as error:
            raise GatewayTimeout from error
        except client.BrokenOffError as error:
            raise BadGateway from error


def may_repeat(method: str, path: str, *, has_key: bool) -> bool:
    """Whether a request that broke off may be sent again: it changes nothing, or counts once."""
    if method in ("GET", "HEAD"):
        return True
    return has_key and (path in ("/score", "/scores") or path.startswith("/score/"))


def _is_small(response: aiohttp.ClientResponse, method: str) -> bool:
    if method == "HEAD" or response.status in _BODILESS or response.content.is_eof():
        return True
    length = _length(response.headers)
    return length is not None and length <= SMALL_ANSWER_BYTES


def _length(headers: Mapping[str, str]) -> int | None:
    value = headers.get("content-length")
    return int(value) if value is not None and value.isdecimal() else None


def _gateway_error(failure: client.UpstreamError | None) -> BadGateway | Unavailable:
    if isinstance(failure, client.BrokenOffError):
        return BadGateway(_MAY_HAVE_BEEN_DONE)
    return Unavailable("No leaderboard service can be reached; try again shortly.")


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
