"""Make spans with OpenTelemetry: requests, attempts, Redis scripts and upserts of one trace, over process borders.

Names and attributes are those of OpenTelemetry's semantic conventions for HTTP, databases and messaging.

Loaded only when traces are sent. The providers are our own and never the global ones, so that no library begins to
trace by itself.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from leaderboard_core.telemetry.logs import PROBES
from leaderboard_core.telemetry.span_attributes import messaging, request_of, server_of

RouteOf: TypeAlias = Callable[[str, str], str]
"""The route of a verb and a path: one of a few names, whatever clients ask for."""

EXPORT_SECONDS = 2.0
"""Longest wait for the collector; a stop waits no longer for it either."""
_W3C = TraceContextTextMapPropagator()
_STREAMS = "/stream/"
"""A live feed has no end, and what it reads on and on belongs to nobody's request."""
_PARENT, _STATE = b"traceparent", b"tracestate"

_QUEUE = "queue:scores"
_VERSION = metadata.version("leaderboard-system")


@dataclass
class _Pending:
    """The span of the script that is about to run: begun early, because the events that it writes name it."""

    span: Span
    regions: set[str] = field(default_factory=set)
    events: int = 0

    def attributes(self) -> dict[str, str | int]:
        """Describe what the script sends: events, to one queue or several."""
        queue = f"{_QUEUE}:{next(iter(self.regions))}" if len(self.regions) == 1 else _QUEUE
        batch = {"messaging.batch.message_count": self.events} if self.events > 1 else {}
        return {**messaging("send", "lpush", queue), **batch}


_pending: ContextVar[_Pending | None] = ContextVar("pending script", default=None)
_attempts: ContextVar[Iterator[int] | None] = ContextVar("attempts of a request", default=None)


class Tracing:
    """Makes the spans of one process and sends them to `endpoint`, an OTLP/HTTP collector's base URL."""

    def __init__(self, endpoint: str, process: str, instance: str) -> None:
        resource = Resource.create(
            {
                "service.namespace": "leaderboard",
                "service.name": process,
                "service.instance.id": instance,
                "service.version": _VERSION,
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer("leaderboard")

    def close(self) -> None:
        """Send what is left; gives up after EXPORT_SECONDS."""
        # The library would wait up to half a minute for a collector that is unavailable.
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(EXPORT_SECONDS)

    def application(self, inner: Any, route_of: RouteOf) -> TracedApplication:
        return TracedApplication(inner, self, route_of)

    def event_fields(self, region: str, events: int) -> dict[str, str]:
        """Begin the span of the script that will write so many events, and name it as their parent."""
        pending = _pending.get()
        if pending is None:
            if not trace.get_current_span().get_span_context().is_valid:
                return {}
            pending = _Pending(self.tracer.start_span("redis", kind=SpanKind.PRODUCER))
            _pending.set(pending)
        pending.regions.add(region)
        pending.events += events
        if not pending.span.is_recording():
            return {}  # sampled out: nobody will look for the upsert
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, trace.set_span_in_context(pending.span))
        return {"traceparent": carrier["traceparent"]}

    def script_span(self, script: str, shard: str) -> AbstractContextManager[Any]:
        """Open a span around one script of a request; a worker's own scripts belong to no request and have none."""
        pending = _pending.get()
        _pending.set(None)
        if pending is not None:
            span = pending.span
            span.set_attributes(pending.attributes())
        elif trace.get_current_span().get_span_context().is_valid:
            span = self.tracer.start_span("redis", kind=SpanKind.CLIENT)
        else:
            return nullcontext()
        span.update_name(f"redis {script}")
        called = {"db.system.name": "redis", "db.operation.name": "EVALSHA", "db.stored_procedure.name": script}
        span.set_attributes({**called, **server_of(shard)})
        return trace.use_span(span, end_on_exit=True)

    @contextmanager
    def attempt(self, method: str, url: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Attempt | None]:
        """Open a span around one attempt of a traced request at a service; None outside of one.

        An error that passes through is noted by the name of its class.
        """
        attempts = _attempts.get()
        if attempts is None:
            yield None
            return
        address = urlsplit(url)
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.full": url,
            "server.address": address.hostname or "",
            "server.port": address.port or 80,
        }
        if resent := next(attempts):
            attributes["http.request.resend_count"] = resent
        with self.tracer.start_as_current_span(
            method, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield Attempt(span, _with_span(headers, span))
            except Exception as error:
                _note_error(span, type(error).__name__)
                raise

    def saved(self, traceparents: Iterable[str], region: str, batch_size: int, began_at: int) -> None:
        """Record a span for each trace that has events in a batch which was upserted from `began_at` (ns) until now."""
        ended_at = time.time_ns()
        for traceparent, count in Counter(traceparents).items():
            parent = _W3C.extract({"traceparent": traceparent}, Context())
            if not trace.get_current_span(parent).get_span_context().is_valid:
                continue
            attributes: dict[str, str | int] = {
                "db.system.name": "postgresql",
                "db.operation.name": "upsert_scores",
                **messaging("process", "upsert_scores", f"{_QUEUE}:{region}"),
                "messaging.batch.message_count": batch_size,
                "leaderboard.region": region,
                "leaderboard.events": count,
            }
            span = self.tracer.start_span(
                "postgres upsert_scores", parent, SpanKind.CONSUMER, attributes, start_time=began_at
            )
            span.end(ended_at)


@dataclass(frozen=True)
class Attempt:
    """One attempt; `headers` name its span as the parent of what the service does."""

    span: Span
    headers: list[tuple[bytes, bytes]]

    def answered(self, status: int) -> None:
        """Note the status of the answer; to a client, 4xx is an error too."""
        self.span.set_attribute("http.response.status_code", status)
        if status >= 400:
            _note_error(self.span, str(status))


class TracedApplication:
    """An ASGI application with a span around each request, a child of the caller's if it named one.

    The application finds this span in `traceparent`, and so passes it on where it passes headers on.
    """

    def __init__(self, inner: Any, tracing: Tracing, route_of: RouteOf) -> None:
        self._inner = inner
        self._tracer = tracing.tracer
        self._route_of = route_of

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES or scope["path"].startswith(_STREAMS):
            await self._inner(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        route = self._route_of(method, path)
        attributes = {"http.request.method": method, "url.path": path, "http.route": route, **request_of(scope)}
        parent = _context_of(scope["headers"])
        _attempts.set(itertools.count())
        with self._tracer.start_as_current_span(f"{method} {route}", parent, SpanKind.SERVER, attributes) as span:
            scope["headers"] = _with_span(scope["headers"], span)

            async def seen(message: Any) -> None:
                if message["type"] == "http.response.start":
                    _note_answer(span, message)
                await send(message)

            await self._inner(scope, receive, seen)


def _context_of(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """The caller's trace. As W3C has it, more than one traceparent counts as none; more tracestates are one list."""
    parents = [value for name, value in headers if name == _PARENT]
    if len(parents) != 1:
        return Context()
    states = [value for name, value in headers if name == _STATE]
    carrier = {"traceparent": parents[0].decode("latin-1"), "tracestate": b",".join(states).decode("latin-1")}
    return _W3C.extract(carrier, Context())


def _with_span(headers: Iterable[tuple[bytes, bytes]], span: Span) -> list[tuple[bytes, bytes]]:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span))
    others = [header for header in headers if header[0] not in (_PARENT, _STATE)]
    return [*others, *((name.encode(), value.encode()) for name, value in carrier.items())]


def _note_answer(span: Span, message: Any) -> None:
    status = message["status"]
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        _note_error(span, str(status))
    for name, value in message["headers"]:
        if name == b"x-request-id":
            span.set_attribute("leaderboard.request_id", value.decode("latin-1"))
        elif name == b"x-upstream-addr":
            span.set_attribute("leaderboard.upstream", value.decode("latin-1"))


def _note_error(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
