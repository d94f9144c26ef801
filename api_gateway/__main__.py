"""Runs one gateway until it is told to stop: `python -m api_gateway`."""

from __future__ import annotations

from api_gateway.app import DEFAULT_PORT, NAME, create_app
from api_gateway.services import Settings
from leaderboard_core.http import serving
from leaderboard_core.settings import ProcessSettings
from leaderboard_core.telemetry import tracing


async def main(process: ProcessSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError when the gateway cannot start."""
    app = create_app(Settings.from_environment(process))
    await serving.serve(tracing.traced(app, app.route_of), process, on_stop=app.announce_stop)


def start() -> None:
    """Run the process until it ends."""
    serving.run(NAME, main, DEFAULT_PORT)


if __name__ == "__main__":
    start()
