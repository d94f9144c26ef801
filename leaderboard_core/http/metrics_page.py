"""Answers a scraper, in the format that it takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from starlette.types import Scope

from leaderboard_core.http.dependencies import Inline
from leaderboard_core.telemetry.exposition import expose


class _Accept(Inline):
    """A dependency: which formats a scraper takes."""

    def value(self, scope: Scope) -> str:
        return b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")


accept = _Accept()
Accept = Annotated[str, Depends(accept)]


def metrics_page(registry: CollectorRegistry, accepted: str, gauges: Iterable[Metric] = ()) -> Response:
    """Answer with a registry's metrics, and gauges that were read for this scrape."""
    content, content_type = expose(registry, accepted, gauges)
    return Response(content, media_type=content_type)
