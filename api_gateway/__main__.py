"""Runs one gateway until it is told to stop: `python -m api_gateway`."""

from __future__ import annotations

import gc

from api_gateway.app import Settings, create_app
from api_gateway.server import create_server, listen, run_until_signal
from leaderboard_core import serving
from leaderboard_core.settings import AuthSettings, GatewaySettings, ProcessSettings, load

DEFAULT_PORT = 4000


async def main(process: ProcessSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError when the gateway cannot start."""
    settings = Settings(process, load(AuthSettings), load(GatewaySettings))
    listener = listen(process.host, process.port)
    gateway = create_app(settings)
    # What lives now lives as long as the process: the garbage collector need not look at it again.
    gc.collect()
    gc.freeze()
    await run_until_signal(create_server(gateway), listener)


if __name__ == "__main__":
    serving.run("api_gateway", main, DEFAULT_PORT)
