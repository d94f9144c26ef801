"""The gateway as an ASGI application: door checks, its own pages, and everything else to the services."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field

import orjson

from api_gateway.asgi import ClientGoneError, Receive, Scope, Send, send_error, send_reply
from api_gateway.metrics import METRICS_CONTENT_TYPE, Exchange, Metrics, log_fields
from api_gateway.proxy.body import linger, too_large
from api_gateway.proxy.forwarding import Proxy
from api_gateway.proxy.headers import RequestHead, read_request_head
from api_gateway.upstream.client import UpstreamClient
from api_gateway.upstream.health import HealthMonitor
from api_gateway.upstream.pool import Pool, State, Upstream
from leaderboard_core.errors import (
    LeaderboardError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    Unavailable,
)
from leaderboard_core.http import pages as web
from leaderboard_core.http.access_log import PROBES, AccessLog
from leaderboard_core.settings import AuthSettings, GatewaySettings, ProcessSettings, StreamSettings, load
from leaderboard_core.tokens import Tokens

logger = logging.getLogger(__name__)

ASSETS = "/assets/"
_HEARTBEATS_MISSED = 3
"""So many heartbeats that did not come end an event stream: its service hangs, and the client can have another."""


@dataclass(frozen=True)
class Settings:
    """Everything a gateway is told."""

    process: ProcessSettings
    auth: AuthSettings
    gateway: GatewaySettings
    stream: StreamSettings = field(default_factory=lambda: load(StreamSettings, {}))


class Gateway:
    """The ASGI application; `stop` may be called when the process is asked to end."""

    def __init__(self, settings: Settings) -> None:
        gateway = settings.gateway
        self._name = settings.process.instance_name or f"api_gateway-{settings.process.port}"
        self._max_body = settings.process.max_body_bytes
        self._tokens = Tokens(settings.auth)
        self._page = web.load("api_gateway", "page", {"index.html": "/"}, ASSETS)
        self._own_paths = PROBES | self._page.keys()
        self.metrics = Metrics()
        level = settings.process.log_level
        self.access_log = AccessLog(
            self._name,
            "api_gateway.access",
            enabled=settings.process.access_log and level in ("DEBUG", "INFO"),
            probes=level == "DEBUG",
        )
        self.pool = Pool(gateway.leaderboard_service_urls, listener=self._upstream_changed)
        self.client = UpstreamClient(
            connect_timeout=gateway.upstream_connect_timeout_seconds,
            read_timeout=gateway.upstream_timeout_seconds,
            socket_dir=settings.process.socket_dir,
        )
        self.proxy = Proxy(
            self.pool,
            self.client,
            self.metrics,
            max_body_bytes=self._max_body,
            client_timeout=gateway.client_timeout_seconds,
            longest_silence=settings.stream.stream_heartbeat_seconds * _HEARTBEATS_MISSED,
        )
        self.health = HealthMonitor(
            self.pool,
            interval=gateway.health_check_interval_seconds,
            connect_timeout=gateway.upstream_connect_timeout_seconds,
            on_failure=self.metrics.health_task_failures.inc,
        )
        for upstream in self.pool.upstreams:
            self.metrics.upstream_state(upstream, upstream.state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        client = scope.get("client")
        head = read_request_head(scope["headers"], client[0] if client else None, scope["scheme"])
        exchange = Exchange(scope["method"], scope["path"], head.request_id)
        try:
            await self._answer(scope, receive, send, head, exchange)
        except LeaderboardError as error:
            await self._refuse(error, receive, send, exchange)
        except ClientGoneError:
            exchange.note = "the client left"
        except asyncio.CancelledError:
            # The server's limit for a graceful stop is over: the client still gets to know.
            if not exchange.response_started:
                exchange.status = Unavailable.status
                await send_error(send, Unavailable("This gateway is stopping; send it again."), head.request_id)
            raise
        except Exception:
            logger.exception("request failed", extra={"request_id": head.request_id})
            await self._refuse(LeaderboardError(), receive, send, exchange)
        finally:
            exchange.end()
            self.metrics.answered(exchange)
            self.access_log.answered(exchange.path, log_fields(exchange))

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            # Closing before accepting makes the server refuse the handshake with 403.
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "There are no WebSockets here."})
        else:
            raise RuntimeError(f"ASGI scope {scope['type']!r} is not served.")

    async def start(self) -> None:
        self.client.start()
        await self.health.start()

    def stop(self) -> None:
        """Say that the process is ending: `/health` turns 503, and event streams end."""
        self.proxy.stopping.set()

    async def close(self) -> None:
        self.stop()
        await self.health.close()
        await self.client.close()
        self.access_log.flush()

    def _answer(
        self, scope: Scope, receive: Receive, send: Send, head: RequestHead, exchange: Exchange
    ) -> Awaitable[None]:
        path = exchange.path
        if path in self._own_paths or path.startswith(ASSETS):
            return self._own_answer(scope, send, exchange)
        if head.content_length is not None and head.content_length > self._max_body:
            raise too_large(self._max_body)
        if needs_token(exchange.method, path):
            self._tokens.verify_header(head.authorization)
        return self.proxy.forward(scope, receive, send, head, exchange)

    async def _own_answer(self, scope: Scope, send: Send, exchange: Exchange) -> None:
        if exchange.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(allow="GET, HEAD")
        if exchange.path in PROBES:
            await self._probe(send, exchange)
            return
        file = self._page.get(exchange.path)
        if file is None:
            raise NotFound
        status, headers, body = file.answer(scope["headers"])
        exchange.status = status
        exchange.response_started = True
        headers.append((b"x-request-id", exchange.request_id.encode("ascii")))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _probe(self, send: Send, exchange: Exchange) -> None:
        content_type = b"application/json"
        exchange.status = 200
        if exchange.path == "/metrics":
            content_type = METRICS_CONTENT_TYPE
            body = self.metrics.render()
        else:
            stopping = self.proxy.stopping.is_set()
            ok = not stopping and any(upstream.state is State.HEALTHY for upstream in self.pool.upstreams)
            page = {"ok": ok, "instance": self._name, "stopping": stopping, "health_task": self.health.running}
            body = orjson.dumps({**page, "upstreams": self.pool.report()})
            exchange.status = 200 if ok else 503
        exchange.response_started = True
        await send_reply(send, exchange.status, body, exchange.request_id, content_type=content_type)

    async def _refuse(self, error: LeaderboardError, receive: Receive, send: Send, exchange: Exchange) -> None:
        exchange.note = error.code
        if exchange.response_started:
            # Too late for another answer: returning without ending this one makes the server cut it off.
            logger.warning("answer cut off", extra={"request_id": exchange.request_id, "reason": error.message})
            return
        exchange.status = error.status
        exchange.response_started = True
        lingering = isinstance(error, PayloadTooLarge)
        close = lingering or isinstance(error, RequestTimeout)
        await send_error(send, error, exchange.request_id, close=close, more_body=lingering)
        if lingering:
            await linger(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            logger.exception("the gateway cannot start")
            await self.close()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _upstream_changed(self, upstream: Upstream, old: State, new: State, reason: str) -> None:
        self.metrics.upstream_state(upstream, new)
        if old is State.HEALTHY:
            self.metrics.left_rotation(upstream, new)
        log = logger.info if new is State.HEALTHY else logger.warning
        log(
            "upstream is %s",
            new.value,
            extra={"upstream": upstream.address, "was": old.value, "reason": reason},
        )


def needs_token(method: str, path: str) -> bool:
    """Whether the door asks for a token. Browsers ask with OPTIONS, without one, before they send it."""
    return (path in ("/score", "/scores") or path.startswith(("/score/", "/users/"))) and method != "OPTIONS"


def create_app(settings: Settings) -> Gateway:
    """A gateway that starts its client and health task in the lifespan; call it inside a running loop."""
    return Gateway(settings)
