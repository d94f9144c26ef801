"""A client whose attempts are traced; without a collector none is made, and `UpstreamClient` knows nothing of spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api_gateway.upstream.answer import Answer
from api_gateway.upstream.client import UpstreamClient
from api_gateway.upstream.pool import Upstream
from leaderboard_core.http.messages import Headers

if TYPE_CHECKING:
    from leaderboard_core.telemetry.opentelemetry import Tracing


class TracedUpstreamClient(UpstreamClient):
    """Has a span of its own for each attempt, which the service's span is a child of."""

    def __init__(self, tracing: Tracing, **client: Any) -> None:
        super().__init__(**client)
        self._tracing = tracing

    async def request(
        self,
        upstream: Upstream,
        method: str,
        target: bytes,
        headers: Headers,
        body: bytes | None,
        *,
        reuse: bool = True,
    ) -> Answer:
        """As UpstreamClient.request."""
        url = f"{upstream.url}{target.decode('latin-1')}"
        with self._tracing.attempt(method, url, headers) as attempt:
            told = headers if attempt is None else attempt.headers
            answer = await super().request(upstream, method, target, told, body, reuse=reuse)
            if attempt is not None:
                attempt.answered(answer.status)
            return answer
