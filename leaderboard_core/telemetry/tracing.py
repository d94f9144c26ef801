"""Start and stop the traces of this process; without OTEL_EXPORTER_OTLP_ENDPOINT nothing of OpenTelemetry is loaded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from leaderboard_core.settings import SettingsError, TracingSettings

if TYPE_CHECKING:
    from leaderboard_core.telemetry.opentelemetry import RouteOf, Tracing

_active: Tracing | None = None


def start(settings: TracingSettings, process: str, instance: str) -> None:
    """Trace from now on, if a collector is set. Raises SettingsError when the packages for it are missing."""
    global _active
    endpoint = settings.otel_exporter_otlp_endpoint
    if not endpoint:
        return
    try:
        from leaderboard_core.telemetry.opentelemetry import Tracing
    except ImportError as error:
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT: is set, and what sends traces is not installed ({error}). "
            "Install the extra, pip install 'leaderboard-system[otel]', or unset the variable."
        ) from error
    _active = Tracing(endpoint, process, instance)


def stop() -> None:
    """Send what is left, within a moment."""
    global _active
    if _active is not None:
        _active.close()
        _active = None


def active() -> Tracing | None:
    """Return what makes spans, None while nothing is traced."""
    return _active


def script_span() -> Callable[[str, str], AbstractContextManager[Any]] | None:
    """Return what makes the span of a Redis script (its name, its shard's), None while nothing is traced."""
    return None if _active is None else _active.script_span


def traced(application: Any, route_of: RouteOf) -> Any:
    """Wrap an ASGI application in a span for each request; while nothing is traced it is the application itself."""
    return application if _active is None else _active.application(application, route_of)
