"""Starts one replica of the leaderboard service."""

from __future__ import annotations

import logging
from dataclasses import replace

from leaderboard_core.errors import Unavailable
from leaderboard_core.http import open_files
from leaderboard_core.http.serving import run, serve, wait_for
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.acknowledging import check_waits
from leaderboard_core.redis.layout import check_places
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import ProcessSettings
from leaderboard_core.telemetry import tracing
from leaderboard_core.telemetry.health import log_warnings
from leaderboard_service.app import DEFAULT_PORT, NAME, create_app
from leaderboard_service.services import Settings

log = logging.getLogger(__name__)

NOTICE_SECONDS = 2.5
"""How long a stopping replica serves on: until the gateways' health checks, a second apart, have noticed."""

OTHER_FILES = 512
"""What a replica needs beside its listeners: the gateways' connections, Redis, Postgres, logs."""


async def main(process: ProcessSettings) -> None:
    """Check the settings and the servers, then serve until told to stop."""
    settings = _limit_listeners(Settings.from_environment(process))
    await _check_servers(settings)
    app = create_app(settings)
    await serve(tracing.traced(app, app.route_of), process, on_stop=app.announce_stop, notice_seconds=NOTICE_SECONDS)


def _limit_listeners(settings: Settings) -> Settings:
    """Limit the listeners to the open files: a process without files accepts no connection at all."""
    available = max(0, open_files.limit() - OTHER_FILES)
    if settings.stream.stream_max_listeners <= available:
        return settings
    log.warning("STREAM_MAX_LISTENERS is cut to %d: raise the hard limit of open files (ulimit -Hn)", available)
    return replace(settings, stream=settings.stream.model_copy(update={"stream_max_listeners": available}))


async def _check_servers(settings: Settings) -> None:
    """Wait for Redis, and warn without Postgres, which only passwords need. Raises Unavailable and SettingsError."""
    shard_map = ShardMap.open(settings.topology)
    databases = await RegionDatabases.open(settings.topology)
    try:
        await wait_for(shard_map.wait_until_reachable, seconds=settings.process.start_timeout_seconds)
        await check_places(shard_map.shards)
        await check_waits(shard_map.shards)
        await log_warnings(shard_map)
        try:
            await wait_for(databases.wait_until_reachable, seconds=0)
        except Unavailable as problem:
            log.warning("starting without Postgres: %s", problem.message)
    finally:
        await shard_map.close()
        await databases.close()


def start() -> None:
    """Run the process until it ends."""
    run(NAME, main, DEFAULT_PORT)


if __name__ == "__main__":
    start()
