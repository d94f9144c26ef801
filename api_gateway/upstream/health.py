"""Asks every service for its health, again and again, and tells the pool."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import orjson

from api_gateway.upstream.client import UpstreamClient
from api_gateway.upstream.errors import UpstreamError, describe
from api_gateway.upstream.pool import Pool, Upstream

logger = logging.getLogger(__name__)

# Longer than a service's own wait for a Redis that does not answer: a slow "not ready" is still an answer.
CHECK_SECONDS = 5.0
_MAX_ANSWER_BYTES = 65_536


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
        self._client = UpstreamClient(connect_timeout=connect_timeout, read_timeout=CHECK_SECONDS)
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Check every upstream once, then go on in the background."""
        self._client.start()
        await asyncio.gather(*(self.check(upstream) for upstream in self._pool.upstreams))
        self._task = asyncio.create_task(self._supervise(), name="health")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._client.close()

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def check(self, upstream: Upstream) -> None:
        """Ask one upstream. Any answer at all means alive; `"stopping": true` means leave it alone."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                status, body = await self._ask(upstream)
        except (UpstreamError, TimeoutError) as error:
            self._pool.check_failed(upstream, describe(error))
        else:
            self._pool.check_passed(upstream, status, stopping=says_stopping(body))

    async def _ask(self, upstream: Upstream) -> tuple[int, bytes]:
        # A new connection each time: only that shows that the service still takes new ones.
        answer = await self._client.request(upstream, "GET", b"/health", [], None, reuse=False, close=True)
        body = b""
        try:
            while len(body) < _MAX_ANSWER_BYTES and (piece := await answer.read()):
                body += piece
        finally:
            answer.close()
        return answer.status, body

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
