"""`leaderboard check`: every setting, and whether every Redis and Postgres answers, before anything is started."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.console import console
from leaderboard_core.serving import wait_for
from leaderboard_core.settings import GROUPS, SettingsError, TopologySettings, load
from leaderboard_core.shards import ShardMap


def check(wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for Redis.")] = 15) -> None:
    """Say which settings are wrong and which Redis does not answer; exit 1 if any."""
    environ = command_environment()
    complaints = []
    for group in GROUPS:
        try:
            load(group, environ)
        except SettingsError as error:
            complaints.append(str(error))
    if complaints:
        raise SettingsError("\n".join(complaints))
    asyncio.run(_reach(load(TopologySettings, environ), wait))
    console.print("settings and Redis: well")


async def _reach(topology: TopologySettings, wait: float) -> None:
    shard_map = ShardMap.open(topology)
    try:
        await wait_for(shard_map.wait_until_reachable, seconds=wait)
    finally:
        await shard_map.close()
