"""Starts one replica of the leaderboard service."""

from __future__ import annotations

import logging
from dataclasses import replace

from leaderboard_core.errors import Unavailable
from leaderboard_core.http import open_files
from leaderboard_core.http.serving import run, serve, wait_for
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import ProcessSettings
from leaderboard_core.telemetry import tracing
from leaderboard_core.telemetry.health import log_warnings
from leaderboard_service.app import DEFAULT_PORT, NAME, create_app
from leaderboard_service.services import Settings

log = logging.getLogger(__name__)

NOTICE_SECONDS = 2.5
"""A stopping replica serves on until the gateways' health checks, a second apart, have seen it coming."""


OTHER_FILES = 512
"""What a replica needs beside its listeners: the gateways' connections, Redis, Postgres, logs."""


async def main(process: ProcessSettings) -> None:
    """Check the settings and the servers, then serve until told to stop."""
    settings = _that_fit(Settings.from_environment(process))
    await _check_servers(settings)
    app = create_app(settings)
    await serve(tracing.traced(app, app.route_of), process, on_stop=app.announce_stop, notice_seconds=NOTICE_SECONDS)


def _that_fit(settings: Settings) -> Settings:
    """No more listeners than there are files for: a process without files takes no connection at all."""
    room = max(0, open_files.limit() - OTHER_FILES)
    if settings.stream.stream_max_listeners <= room:
        return settings
    log.warning("STREAM_MAX_LISTENERS is cut to %d: raise the hard limit of open files (ulimit -Hn)", room)
    return replace(settings, stream=settings.stream.model_copy(update={"stream_max_listeners": room}))


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
    run(NAME, main, DEFAULT_PORT)
