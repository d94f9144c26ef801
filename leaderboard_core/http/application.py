"""The application class of every process: FastAPI, with compiled routes, request ids, access log, metrics, envelope."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import perf_counter
from typing import Any

import orjson
from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from leaderboard_core.calls import CallTable
from leaderboard_core.errors import LeaderboardError
from leaderboard_core.http.access_log import AccessLog
from leaderboard_core.http.context import RequestContext, choose_request_id
from leaderboard_core.http.cross_origin import VARY, CrossOrigin, is_preflight
from leaderboard_core.http.cycle import FIRST_HEADERS
from leaderboard_core.http.exception_handlers import HANDLERS, reply_to
from leaderboard_core.http.messages import BodyLimits, limit_body, send_response, without_body
from leaderboard_core.http.responses import CONTEXT, JSONReply, error_reply, reply_of
from leaderboard_core.http.routing import Entry, RouteTable
from leaderboard_core.settings import ProcessSettings
from leaderboard_core.telemetry import logs
from leaderboard_core.telemetry.request_metrics import RequestMetrics

log = logging.getLogger(__name__)

State = Mapping[str, Any]
Lifespan = Callable[[Any], AbstractAsyncContextManager[State]]
Fallback = Callable[[Scope, Receive, Send, RequestContext], Awaitable[None]]
"""Answers the requests of no route; what it raises is answered as what a route raises."""


class Application(FastAPI):
    """A FastAPI application whose compiled routes cost what a plain ASGI call costs.

    Requests of compiled routes go past FastAPI's layers; with user middleware they are answered innermost, and with
    `dependency_overrides` by FastAPI itself. Everything else that FastAPI offers works as anywhere. `lifespan` yields
    the state that dependencies find (`FromState`).
    """

    def __init__(
        self,
        *,
        process: ProcessSettings,
        name: str,
        metrics: RequestMetrics,
        lifespan: Lifespan,
        calls: CallTable | None = None,
        **fastapi: Any,
    ) -> None:
        super().__init__(
            lifespan=self._run_lifespan(lifespan),
            redirect_slashes=False,
            # The framework's own pages load their scripts from elsewhere.
            docs_url=None,
            redoc_url=None,
            strict_content_type=False,
            exception_handlers=dict(HANDLERS),
            **fastapi,
        )
        self.check_responses = False
        """Hold every answer against its response model, as tests do."""
        self.calls = CallTable() if calls is None else calls
        self.metrics = metrics
        self.access_log = AccessLog(
            process.instance_name or f"{name}-{process.port}",
            f"{name}.access",
            enabled=process.access_log and process.log_level in ("DEBUG", "INFO"),
            probes=process.log_level == "DEBUG",
        )
        self._limits = BodyLimits(process.max_body_bytes, process.client_timeout_seconds)
        self._cross_origin = CrossOrigin(self, process.cors_origins) if process.cors_origins else None
        self._vary = (VARY,) if process.cors_origins else ()
        self.fallback: Fallback | None = None
        """Answers what no route of this application answers, and names its route; set when the lifespan starts."""
        self._table: RouteTable | None = None
        self._state: State | None = None
        self._on_stop: list[Callable[[], None]] = []
        # Innermost, so that middleware goes around compiled routes and the fallback as around any route.
        self._match = self.router.middleware_stack
        self.router.middleware_stack = self._answer_innermost

    # For whoever runs the application.

    def on_stop(self, announce: Callable[[], None]) -> None:
        """Call `announce` when the process is told to end, while everything is still served."""
        self._on_stop.append(announce)

    def announce_stop(self) -> None:
        """Say that the process is ending: /health turns 503, and streams end."""
        for announce in self._on_stop:
            announce()

    def route_of(self, method: str, path: str) -> str:
        """The path as it is declared, "other" for what this application and the API do not know."""
        entry, _ = self.routes_by_path.find(method, path)
        if entry is not None:
            return entry.path
        return "other" if self.fallback is None else self.calls.route_of(path)

    def verbs_of(self, path: str) -> set[str]:
        """The verbs of a path, as far as this application and the API know it."""
        endpoint = None if self.fallback is None else self.calls.find(path)
        return self.routes_by_path.allowed(path) | (endpoint.verbs if endpoint is not None else set())

    @property
    def routes_by_path(self) -> RouteTable:
        """The table of routes, made when the application starts."""
        if self._table is None:
            self._table = RouteTable(self.routes, self.calls)
        return self._table

    def _run_lifespan(self, lifespan: Lifespan) -> Lifespan:
        @asynccontextmanager
        async def run(_: Application) -> AsyncIterator[State]:
            self._table = None  # routes may have been added since an earlier start
            self.routes_by_path.log_uncompiled()
            async with lifespan(self) as state:
                self._state = state
                try:
                    yield state
                finally:
                    self._state = None
                    self._on_stop.clear()
                    self.access_log.flush()

        return run

    # Requests.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        started_at = perf_counter()
        method: str = scope["method"]
        path: str = get_route_path(scope) if scope.get("root_path") else scope["path"]
        table = self._table or self.routes_by_path
        entry, path_value = table.find(method, path)
        headers = scope.get(FIRST_HEADERS) if "app" not in scope else None
        if headers is None:
            headers = dict(reversed(scope["headers"]))  # of a repeated one the first counts
        request_id = choose_request_id(headers.get(b"x-request-id"))
        logs.request_id.set(request_id)
        context = scope[CONTEXT] = RequestContext(method, path, request_id, started_at)
        if self._state is not None and ("app" in scope or "state" not in scope):
            # Mounted in another application, or called without a server: nobody else brings our state.
            scope["state"] = {**scope.get("state", {}), **self._state}
        scope["app"] = self
        try:
            if self._cross_origin is not None and self._cross_origin.lists(headers):
                send = self._cross_origin.shared(scope, send)
                if entry is None and is_preflight(method, headers) and (verbs := self.verbs_of(path)):
                    context.route = self.route_of(min(verbs), path)
                    await self._send_response(self._cross_origin.preflight(verbs), scope, receive, send, context)
                    return
            if self.user_middleware or self.dependency_overrides:
                await self._answer_through_layers(scope, receive, send, context)
                return
            if entry is not None and entry.function is not None:
                context.route = entry.path
                call = entry.function(scope, receive, headers, path_value, self._limits.at_most(entry.largest_body))
                await self._answer_compiled(call, entry, scope, receive, send, context)
            elif entry is None and self.fallback is not None and not table.matches(path, scope):
                await self.fallback(scope, receive, send, context)
            else:
                await self._answer_through_layers(scope, receive, send, context)
        except ClientDisconnect:
            context.note(note="the client left")
        except Exception as error:  # noqa: BLE001 - answered by the application's exception handlers
            await self._answer_failure(error, scope, receive, send, context)
        finally:
            if context.seconds < 0:
                context.seconds = perf_counter() - started_at
            self.metrics.answered(context)
            self.access_log.answered(path, context)

    async def _answer_compiled(
        self,
        call: Awaitable[Any],
        entry: Entry,
        scope: Scope,
        receive: Receive,
        send: Send,
        context: RequestContext,
    ) -> None:
        try:
            answer = await call
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - answered by the application's exception handlers
            answer = await reply_to(error, self.exception_handlers, Request(scope, receive))
        if type(answer) is not JSONReply or answer.background is not None:
            if isinstance(answer, Response):
                await self._send_response(answer, scope, receive, send, context)
                return
            answer = reply_of(answer, entry.status)
        if self.check_responses:
            entry.check(answer.status_code, orjson.loads(answer.body))
        context.status = answer.status_code
        context.response_started = True
        # A list of its own: a reply may be shared by requests that were coalesced.
        sent = [*answer.raw_headers, *self._vary, (b"x-request-id", context.request_id.encode("ascii"))]
        body = b"" if context.method == "HEAD" else answer.body
        if (rest := send_response(send, answer.status_code, sent, body)) is not None:
            await rest

    async def _answer_failure(
        self, error: Exception, scope: Scope, receive: Receive, send: Send, context: RequestContext
    ) -> None:
        """Answer what the fallback raised, as what a route raises."""
        context.note(note=error.code if isinstance(error, LeaderboardError) else LeaderboardError.code)
        if context.response_started:
            # Too late for another answer: only breaking the connection tells the client.
            log.warning(
                "answer cut off", exc_info=not isinstance(error, LeaderboardError), extra={"reason": str(error)}
            )
            return
        reply = await reply_to(error, self.exception_handlers, Request(scope, receive))
        await self._send_response(reply, scope, receive, send, context)

    async def _send_response(
        self, response: Response, scope: Scope, receive: Receive, send: Send, context: RequestContext
    ) -> None:
        """Send an answer that is not plain JSON: a file, a stream, whatever FastAPI knows."""
        response.raw_headers.append((b"x-request-id", context.request_id.encode("ascii")))
        out = without_body(send) if context.method == "HEAD" else send

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                context.response_started = True
            await out(message)

        try:
            await response(scope, receive, send_and_note)
        except ClientDisconnect:
            raise
        except Exception:
            log.exception("an answer failed", extra={"path": context.path})
            if context.response_started:
                raise  # the head is out: only breaking the connection tells the client
            await self._send_response(error_reply(LeaderboardError()), scope, receive, send, context)

    async def _answer_through_layers(self, scope: Scope, receive: Receive, send: Send, context: RequestContext) -> None:
        """Answer as FastAPI does, with all of its layers around."""
        entry, _ = self.routes_by_path.find(context.method, context.path)
        if entry is not None:
            context.route = entry.path
        receive = limit_body(receive, scope["headers"], self._limits.at_most(entry.largest_body if entry else None))
        request_id = (b"x-request-id", context.request_id.encode("ascii"))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                context.response_started = True
                headers = list(message.get("headers", ()))
                if not any(name == b"x-request-id" for name, _ in headers):
                    headers.append(request_id)
                message = {**message, "headers": headers}
            await send(message)

        out: Send = send_with_id
        if context.method == "HEAD":
            scope, out = {**scope, "method": "GET" if entry is not None else "HEAD"}, without_body(send_with_id)
        try:
            await super().__call__(scope, receive, out)
        except ClientDisconnect:
            raise
        except Exception:
            # Starlette raises again what it has answered, for servers to log.
            log.exception("a request failed", extra={"path": context.path})
            if not context.response_started:
                await self._send_response(error_reply(LeaderboardError()), scope, receive, send, context)

    async def _answer_innermost(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer inside of all middleware; what is raised is for FastAPI's layers to answer."""
        context: RequestContext | None = scope.get(CONTEXT)
        if scope["type"] != "http" or context is None:
            await self._match(scope, receive, send)
            return
        entry, path_value = self.routes_by_path.find(context.method, context.path)
        if entry is not None and entry.function is not None and not self.dependency_overrides:
            headers = dict(reversed(scope["headers"]))
            answer = await entry.function(scope, receive, headers, path_value, self._limits.at_most(entry.largest_body))
            response = answer if isinstance(answer, Response) else reply_of(answer, entry.status)
            await response(scope, receive, send)
        elif entry is None and self.fallback is not None and not self.routes_by_path.matches(context.path, scope):
            await self.fallback(scope, receive, send, context)
        else:
            await self._match(scope, receive, send)
