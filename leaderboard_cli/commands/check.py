"""`leaderboard check`: check every setting and every Redis and Postgres before anything is started."""

from __future__ import annotations

import asyncio
from functools import partial
from secrets import token_hex
from typing import Annotated

import typer

from leaderboard_cli.cluster.environment import misspelt
from leaderboard_cli.commands.environment import command_environment, names_stores, stores_environment
from leaderboard_cli.console import console, say_once
from leaderboard_core.http.serving import wait_for
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.migrations import MAINTENANCE_DATABASE
from leaderboard_core.redis.acknowledging import check_waits
from leaderboard_core.redis.commands import refusals
from leaderboard_core.redis.layout import check_places
from leaderboard_core.redis.server_settings import eviction_policy_of
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import SettingsError, TopologySettings, WorkerSettings, check_all, load


def check(wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for Redis and Postgres.")] = 15) -> None:
    """Say which settings are wrong, which server does not answer, and what Redis refuses to do; exit 1 if any."""
    environ = command_environment()
    made = {} if names_stores(environ) else {"JWT_SECRET": token_hex(32)}  # as `leaderboard up` makes one
    check_all({**made, **environ})
    if remarks := misspelt():
        raise SettingsError("\n".join(remarks))
    environ = stores_environment()
    asyncio.run(_reach(load(TopologySettings, environ), load(WorkerSettings, environ), wait))
    console.print("settings, Redis and Postgres are well")


async def _reach(topology: TopologySettings, worker: WorkerSettings, wait: float) -> None:
    # By the maintenance database: those of the regions may not exist yet.
    server = topology.model_copy(update={"region_databases": dict.fromkeys(topology.regions, MAINTENANCE_DATABASE)})
    shard_map, databases = ShardMap.open(topology), await RegionDatabases.open(server)
    try:
        servers = partial(databases.wait_until_reachable, may_be_missing=True)
        await wait_for(shard_map.wait_until_reachable, servers, seconds=wait, on_wait=say_once())
        refused = [
            f"{shard.variable}: {shard.name}: {refusal}."
            for shard in shard_map.shards
            for refusal in await refusals(shard)
        ]
        if refused:
            raise SettingsError("\n".join((*refused, "docs/operations.md has the rights that a user of Redis needs.")))
        await check_places(shard_map.shards)
        await check_waits(shard_map.shards)
        for shard in shard_map.shards:
            if not worker.allow_eviction and (policy := await eviction_policy_of(shard)):
                raise SettingsError(
                    f"{shard.variable}: maxmemory-policy of {shard.name} is {policy}, by which players vanish: set it "
                    "to noeviction, or ALLOW_EVICTION=true."
                )
    finally:
        await shard_map.close()
        await databases.close()
