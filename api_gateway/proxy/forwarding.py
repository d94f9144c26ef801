"""One request to a service and its answer back: attempts, repeats, and streaming."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from time import perf_counter
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api_gateway.metrics import Metrics
from api_gateway.proxy.headers import RequestHead, read_request_head
from api_gateway.proxy.operators import FOR_OPERATORS, Operators
from api_gateway.proxy.refusals import refuse, refuse_unread
from api_gateway.proxy.streams import StreamPlaces
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
from leaderboard_core.calls import STATUS, Call, CallTable, Endpoint, Repeat
from leaderboard_core.errors import (
    BadGateway,
    Forbidden,
    GatewayTimeout,
    PayloadTooLarge,
    RequestTimeout,
    Unavailable,
)
from leaderboard_core.http.client_address import ClientAddresses, peer_of
from leaderboard_core.http.context import RequestContext
from leaderboard_core.http.messages import (
    BodyLimits,
    first_header,
    limit_buffer,
    read_body,
    send_in_time,
    send_response,
    start_stream,
    too_large,
    wait_until_disconnected,
)
from leaderboard_core.http.origins import Origins
from leaderboard_core.tokens import Tokens

logger = logging.getLogger(__name__)

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BODILESS = frozenset({204, 304})
_FINAL_CHUNK_SECONDS = 1.0
_MAY_HAVE_BEEN_DONE = "The leaderboard service broke off; the request may or may not have been done."


class Proxy:
    """Gives requests to the pool's services; `stopping` ends event streams when the process stops."""

    def __init__(
        self,
        pool: Pool,
        upstreams: UpstreamClient,
        metrics: Metrics,
        calls: CallTable,
        tokens: Tokens,
        addresses: ClientAddresses,
        operators: Operators,
        origins: Origins,
        streams: StreamPlaces,
        *,
        max_body_bytes: int,
        client_timeout: float,
        longest_silence: float,
    ) -> None:
        self._max_body = max_body_bytes
        self._client_timeout = client_timeout
        self._longest_silence = longest_silence
        self._calls = calls
        self._tokens = tokens
        self._addresses = addresses
        self._operators = operators
        self._origins = origins
        self.streams = streams
        self._pool = pool
        self._client = upstreams
        self._metrics = metrics
        self.stopping = asyncio.Event()

    def forward(self, scope: Scope, receive: Receive, send: Send, context: RequestContext) -> Awaitable[None]:
        """Answer one request with a service's answer.

        Raises MissingToken, InvalidToken, Forbidden, ForbiddenOrigin, RateLimited, BadGateway, Unavailable,
        GatewayTimeout or ClientDisconnect; when `context.response_started` is set by then, the answer is cut off and
        cannot be replaced.
        """
        endpoint = self._calls.find(context.path)
        call = None
        if endpoint is not None:
            context.route, call = endpoint.path, endpoint.call(context.method)
        if endpoint is not None and call is not None and call.streams:
            return self._forward_stream(scope, receive, send, context, endpoint, call)
        return self._forward(scope, receive, send, context, endpoint, call)

    async def _forward_stream(
        self, scope: Scope, receive: Receive, send: Send, context: RequestContext, endpoint: Endpoint, call: Call
    ) -> None:
        with self.streams.place(self._addresses.of(scope)):
            await self._forward(scope, receive, send, context, endpoint, call)

    async def _forward(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        context: RequestContext,
        endpoint: Endpoint | None,
        call: Call | None,
    ) -> None:
        fields: dict[str, Any] = {"upstream": None, "retries": 0}
        context.extra = fields
        peer = peer_of(scope)
        trusted = self._addresses.trusts(peer)
        head = read_request_head(scope["headers"], peer, scope["scheme"], context.request_id, trusted=trusted)
        operator = self._operators.include(peer, head.forwarded_for)
        if not operator and context.route == STATUS.path:
            raise Forbidden(FOR_OPERATORS)
        if context.method not in _SAFE and not (call and call.repeat is Repeat.ALWAYS and call.method == "POST"):
            self._origins.check(head.origin, scope)
        largest = self._max_body if call is None else call.body_limit(self._max_body)
        try:
            if head.content_length is not None and head.content_length > largest:
                raise too_large(largest)
            # Browsers ask with OPTIONS, without a token, before they send one.
            asks = endpoint is not None and (endpoint.token if call is None else call.token)
            if asks and context.method != "OPTIONS":
                self._tokens.verify_header(head.authorization)
            body: bytes | None = None
            if head.has_body:
                body = await read_body(receive, (), BodyLimits(largest, self._client_timeout))
            answer, upstream = await self._ask(scope, head, body, call, context, fields)
        except (PayloadTooLarge, RequestTimeout) as error:
            await refuse_unread(error, receive, send, context)
            return
        except asyncio.CancelledError:
            # The server's limit for a graceful stop is over: the client still gets to know.
            await refuse(Unavailable("This gateway is stopping; send it again."), send, context)
            raise
        status, headers = answer.status, answer.headers
        if status in _BODILESS:
            # A length would announce a body.
            headers = [header for header in headers if header[0] != b"content-length"]
        headers.append((b"x-request-id", context.request_id.encode("ascii")))
        if operator:
            headers.append((b"x-upstream-addr", upstream.address_bytes))
        context.status = status
        context.response_started = True
        if answer.complete:
            whole = answer.take()
            if whole and answer.content_length is None:
                headers.append((b"content-length", b"%d" % len(whole)))
            if (rest := send_response(send, status, headers, whole)) is not None:
                await rest
            return
        events = (first_header(headers, b"content-type") or b"").startswith(b"text/event-stream")
        if events:
            headers.append((b"connection", b"close"))  # what comes behind them would wait without end
        try:
            await start_stream(send, status, headers)
            await self._stream(answer, scope, receive, send, context, events=events)
        finally:
            answer.close()

    async def _ask(
        self,
        scope: Scope,
        head: RequestHead,
        body: bytes | None,
        call: Call | None,
        context: RequestContext,
        fields: dict[str, Any],
    ) -> tuple[Answer, Upstream]:
        """The first answer that came, complete if it is small, and who gave it; `fields` are for the log line."""
        method: str = scope["method"]
        target: bytes = scope["raw_path"] or b"/"
        if query := scope["query_string"]:
            target = b"%b?%b" % (target, query)
        tried: list[Upstream] = []
        again, attempts = True, 0
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
            tried.append(upstream)
            fields["upstream"], fields["retries"] = upstream.address, attempts
            attempts += 1
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
                if not _may_repeat(context.method, call, has_key=head.has_idempotency_key):
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

    async def _stream(
        self, answer: Answer, scope: Scope, receive: Receive, send: Send, context: RequestContext, *, events: bool
    ) -> None:
        """Pass a body on piece by piece, until it ends, the client leaves or, for events, the gateway stops."""
        if events:
            answer.set_read_timeout(self._longest_silence)
            limit_buffer(scope)
        pump = asyncio.create_task(self._pump(answer, scope, send))
        ends: list[asyncio.Task[Any]] = [pump, asyncio.create_task(wait_until_disconnected(receive))]
        if events:
            ends.append(asyncio.create_task(self.stopping.wait()))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
            elif not self.stopping.is_set():
                raise ClientDisconnect
        except (BadGateway, GatewayTimeout) as error:
            if not events:
                raise
            context.note(note=error.code)  # an end like any other: who listens to events comes back
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        seconds = _FINAL_CHUNK_SECONDS if events else self._client_timeout
        await send_in_time(send, {"type": "http.response.body", "body": b""}, scope, seconds)

    async def _pump(self, answer: Answer, scope: Scope, send: Send) -> None:
        try:
            while piece := await answer.read():
                message = {"type": "http.response.body", "body": piece, "more_body": True}
                await send_in_time(send, message, scope, self._client_timeout)
        except TimedOutError as error:
            raise GatewayTimeout from error
        except BrokenOffError as error:
            raise BadGateway from error


def _may_repeat(method: str, call: Call | None, *, has_key: bool) -> bool:
    """Whether a request that broke off may be sent again: it changes nothing, or counts once."""
    if call is None:
        return method in ("GET", "HEAD")  # of pages that are no calls of the API
    return call.may_repeat(has_key=has_key)


def _gateway_error(failure: UpstreamError | None) -> BadGateway | Unavailable:
    if isinstance(failure, BrokenOffError):
        return BadGateway(_MAY_HAVE_BEEN_DONE)
    return Unavailable("No leaderboard service can be reached; try again shortly.")
