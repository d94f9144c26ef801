"""Runs one gateway until it is told to stop: `python -m api_gateway`."""

from __future__ import annotations

from api_gateway.app import Settings, create_app
from api_gateway.metrics import route_of
from leaderboard_core.http import serving
from leaderboard_core.settings import AuthSettings, GatewaySettings, ProcessSettings, StreamSettings, load
from leaderboard_core.telemetry import tracing

DEFAULT_PORT = 4000


async def main(process: ProcessSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError when the gateway cannot start."""
    settings = Settings(process, load(AuthSettings), load(GatewaySettings), load(StreamSettings))
    gateway = create_app(settings)
    application = tracing.traced(gateway, lambda _, path: route_of(path))
    await serving.serve(application, process, on_stop=gateway.stop)


if __name__ == "__main__":
    serving.run("api_gateway", main, DEFAULT_PORT)
