"""Starts one replica of the leaderboard service."""

from __future__ import annotations

import logging

from leaderboard_core import tracing
from leaderboard_core.errors import Unavailable
from leaderboard_core.health import log_warnings
from leaderboard_core.postgres import RegionDatabases
from leaderboard_core.serving import run, serve, wait_for
from leaderboard_core.settings import ProcessSettings
from leaderboard_core.shards import ShardMap
from leaderboard_service.app import create_app
from leaderboard_service.state import Settings

log = logging.getLogger(__name__)

NOTICE_SECONDS = 2.5
"""A stopping replica serves on until the gateways' health checks, a second apart, have seen it coming."""


async def main(process: ProcessSettings) -> None:
    """Check the settings and the servers, then serve until told to stop."""
    settings = Settings.from_environment(process)
    await _check_servers(settings)
    app = create_app(settings)
    await serve(tracing.traced(app, app.route_of), process, on_stop=app.announce_stop, notice_seconds=NOTICE_SECONDS)


async def _check_servers(settings: Settings) -> None:
    """Redis must answer; without Postgres only passwords are missing, so that is said and no more."""
    shard_map = ShardMap.open(settings.topology)
    databases = await RegionDatabases.open(settings.topology)
    try:
        await wait_for(shard_map.wait_until_reachable, seconds=settings.process.start_timeout_seconds)
        await log_warnings(shard_map)
        try:
            await wait_for(databases.wait_until_reachable, seconds=0)
        except Unavailable as problem:
            log.warning("starting without Postgres: %s", problem.message)
    finally:
        await shard_map.close()
        await databases.close()


if __name__ == "__main__":
    run("leaderboard_service", main, default_port=5000)
