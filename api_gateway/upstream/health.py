"""Asks every service for its health periodically, and tells the pool."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable

import httpx
import orjson

from api_gateway.upstream.errors import describe
from api_gateway.upstream.pool import Pool, Upstream

logger = logging.getLogger(__name__)

# Longer than a service's own wait for a Redis that does not answer: a slow "not ready" is still an answer.
CHECK_SECONDS = 5.0
MAX_ANSWER_BYTES = 65_536


class HealthMonitor:
    """One task that watches every upstream of `pool`, every `interval` seconds.

    If the task dies of an error of ours, the error is logged, `on_failure` called and the task started again.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        interval: float,
        connect_timeout: float,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._interval = interval
        self._client = httpx.AsyncClient(
            # Only a new connection shows that the service still accepts any.
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"connection": "close"},
            timeout=httpx.Timeout(None, connect=connect_timeout),
            trust_env=False,
            # Services are reached by http:// only: no certificates are loaded.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Check every upstream once, then go on in the background."""
        await asyncio.gather(*(self.check(upstream) for upstream in self._pool.upstreams))
        self._task = asyncio.create_task(self._supervise(), name="health")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._client.aclose()

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def check(self, upstream: Upstream) -> None:
        """Ask one upstream. Any answer at all means alive; `"stopping": true` takes it out of the rotation."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                status, body = await self._ask(upstream)
        except httpx.ConnectTimeout:
            self._pool.check_failed(upstream, f"no connection within {self._client.timeout.connect:g} s")
        except TimeoutError:
            self._pool.check_failed(upstream, f"no answer within {CHECK_SECONDS:g} s")
        except httpx.HTTPError as error:
            self._pool.check_failed(upstream, describe_cause(error))
        else:
            self._pool.check_passed(upstream, status, stopping=says_stopping(body))

    async def _ask(self, upstream: Upstream) -> tuple[int, bytes]:
        body = b""
        async with self._client.stream("GET", f"{upstream.url}/health") as response:
            async for piece in response.aiter_raw():
                body += piece
                if len(body) >= MAX_ANSWER_BYTES:
                    break
        return response.status_code, body

    async def _supervise(self) -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    for upstream in self._pool.upstreams:
                        group.create_task(self._watch(upstream))
            except Exception:
                logger.exception("the health task died and is started again")
                self._on_failure()
            await asyncio.sleep(self._interval)

    async def _watch(self, upstream: Upstream) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.check(upstream)


def says_stopping(body: bytes) -> bool:
    """Whether a health answer carries `"stopping": true`; anything that is not such JSON does not."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(answer, dict) and answer.get("stopping") is True


def describe_cause(error: BaseException) -> str:
    """Describe the innermost error of a chain that says anything: the outer ones only say that the attempt failed."""
    description = describe(error)
    while cause := error.__cause__ or error.__context__:
        # A group has one error for each address of the host.
        error = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
        description = str(error) or description
    return description
