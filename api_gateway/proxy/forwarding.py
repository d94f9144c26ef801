"""One request to a service and its answer back: attempts, repeats, and streaming."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import Any

from api_gateway.asgi import ClientGoneError, Message, Receive, Scope, Send
from api_gateway.metrics import Exchange, Metrics
from api_gateway.proxy.body import read_body
from api_gateway.proxy.headers import RequestHead, value_of
from api_gateway.upstream.answer import Answer
from api_gateway.upstream.client import UpstreamClient
from api_gateway.upstream.errors import (
    BrokenOffError,
    ConnectFailedError,
    NotSentError,
    TimedOutError,
    UpstreamError,
)
from api_gateway.upstream.pool import Pool, Upstream
from leaderboard_core.errors import BadGateway, GatewayTimeout, Unavailable
from leaderboard_core.http.protocol import NOTHING_YET, TRANSPORT, send_at_once
from leaderboard_core.http.server import buffer_little

logger = logging.getLogger(__name__)

_BODILESS = frozenset({204, 304})
_FAREWELL_SECONDS = 1.0
_MAY_HAVE_BEEN_DONE = "The leaderboard service broke off; the request may or may not have been done."


class Proxy:
    """Gives requests to the pool's services; `stopping` ends event streams when the process stops."""

    def __init__(
        self,
        pool: Pool,
        upstreams: UpstreamClient,
        metrics: Metrics,
        *,
        max_body_bytes: int,
        client_timeout: float,
        longest_silence: float,
    ) -> None:
        self._max_body = max_body_bytes
        self._client_timeout = client_timeout
        self._longest_silence = longest_silence
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
        answer, upstream = await self._ask(scope, head, body, exchange)
        status, headers = answer.status, answer.headers
        if status in _BODILESS:
            # A length would announce a body.
            headers = [header for header in headers if header[0] != b"content-length"]
        headers.append((b"x-request-id", head.request_id.encode("ascii")))
        headers.append((b"x-upstream-addr", upstream.address_bytes))
        exchange.status = status
        exchange.response_started = True
        if answer.complete:
            whole = answer.take()
            if whole and answer.content_length is None:
                headers.append((b"content-length", b"%d" % len(whole)))
            if not send_at_once(send, status, headers, whole):
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": whole, "more_body": False})
            return
        try:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send(NOTHING_YET)
            await self._stream(answer, scope, receive, send, exchange)
        finally:
            answer.close()

    async def _ask(
        self, scope: Scope, head: RequestHead, body: bytes | None, exchange: Exchange
    ) -> tuple[Answer, Upstream]:
        """The first answer that came, complete if it is small, and who gave it."""
        method: str = scope["method"]
        target: bytes = scope["raw_path"] or b"/"
        if query := scope["query_string"]:
            target = b"%b?%b" % (target, query)
        repeatable = may_repeat(method, scope["path"], has_key=head.has_idempotency_key)
        tried: list[Upstream] = []
        again = True
        failure: UpstreamError | None = None
        while True:
            upstream = self._pool.pick(tried)
            if upstream is None and again and isinstance(failure, BrokenOffError | NotSentError):
                # Every service was asked once. A kept connection can break because its service was restarted, or
                # closes what it keeps, so each may be asked once more, on a new one.
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
                answer = await self._client.request(upstream, method, target, head.forward, body, reuse=again)
            except ConnectFailedError as error:
                self._pool.connect_failed(upstream, str(error))
                self._metrics.upstream_failed(upstream, "connect")
                self._metrics.retried(upstream, "connect")
                if not isinstance(failure, BrokenOffError):
                    failure = error
            except NotSentError as error:
                self._metrics.upstream_failed(upstream, "not_sent")
                self._metrics.retried(upstream, "not_sent")
                if not isinstance(failure, BrokenOffError):
                    failure = error
            except BrokenOffError as error:
                self._metrics.upstream_failed(upstream, "broken")
                logger.warning("upstream broke off", extra={"upstream": upstream.address, "reason": str(error)})
                if not repeatable:
                    raise BadGateway(_MAY_HAVE_BEEN_DONE) from error
                self._metrics.retried(upstream, "broken")
                failure = error
            except TimedOutError as error:
                self._metrics.upstream_failed(upstream, "timeout")
                raise GatewayTimeout from error
            else:
                self._metrics.upstream_answered(upstream, answer.status, answer.head_at - started_at)
                self._pool.answered(upstream)
                return answer, upstream

    async def _stream(self, answer: Answer, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        """Pass a body on piece by piece, until it ends, the client leaves or, for events, the gateway stops."""
        events = value_of(answer.headers, b"content-type").startswith(b"text/event-stream")
        if events:
            answer.set_read_timeout(self._longest_silence)
            buffer_little(scope[TRANSPORT])
        pump = asyncio.create_task(self._pump(answer, scope, send))
        ends: list[asyncio.Task[Any]] = [pump, asyncio.create_task(_until_gone(receive))]
        if events:
            ends.append(asyncio.create_task(self.stopping.wait()))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
            elif not self.stopping.is_set():
                raise ClientGoneError
        except (BadGateway, GatewayTimeout) as error:
            if not events:
                raise
            exchange.note = error.code  # an end like any other: who listens to events comes back
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        seconds = _FAREWELL_SECONDS if events else self._client_timeout
        await _send_in_time(send, {"type": "http.response.body", "body": b""}, scope, seconds)

    async def _pump(self, answer: Answer, scope: Scope, send: Send) -> None:
        try:
            while piece := await answer.read():
                message = {"type": "http.response.body", "body": piece, "more_body": True}
                await _send_in_time(send, message, scope, self._client_timeout)
        except TimedOutError as error:
            raise GatewayTimeout from error
        except BrokenOffError as error:
            raise BadGateway from error


def may_repeat(method: str, path: str, *, has_key: bool) -> bool:
    """Whether a request that broke off may be sent again: it changes nothing, or counts once.

    Who deletes twice is told 404 the second time, unless a key asks for the first answer.
    """
    if method in ("GET", "HEAD") or path == "/ranks" or (method == "DELETE" and path.startswith("/users/")):
        return True
    return has_key and (path in ("/score", "/scores") or path.startswith("/score/"))


def _gateway_error(failure: UpstreamError | None) -> BadGateway | Unavailable:
    if isinstance(failure, BrokenOffError):
        return BadGateway(_MAY_HAVE_BEEN_DONE)
    return Unavailable("No leaderboard service can be reached; try again shortly.")


async def _send_in_time(send: Send, message: Message, scope: Scope, seconds: float) -> None:
    """Cuts a client off, and raises ClientGoneError, when it takes nothing for so long."""
    try:
        async with asyncio.timeout(seconds):
            await send(message)
    except TimeoutError:
        # An orderly close would wait until the client has taken what is buffered.
        scope[TRANSPORT].abort()
        raise ClientGoneError from None


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
