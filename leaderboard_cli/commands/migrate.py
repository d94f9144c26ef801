"""`leaderboard migrate`: bring every region's database to the newest schema."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Annotated

import typer

from leaderboard_cli.commands.environment import stores_environment
from leaderboard_cli.console import console, fail, say_once
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.migration_lease import PATIENCE
from leaderboard_core.postgres.migrations import MAINTENANCE_DATABASE, migrate_all
from leaderboard_core.settings import TopologySettings, load


def migrate(
    create_databases: Annotated[
        bool, typer.Option(help="Make databases that do not exist (needs the CREATEDB right).")
    ] = True,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for Postgres.")] = 15,
    lock_wait: Annotated[
        float, typer.Option(min=0, help="Seconds that a migration may wait for locks or for another process.")
    ] = PATIENCE.blocked,
    indexes: Annotated[
        bool, typer.Option(help="Build indexes too; without, each worker's start builds them beside its work.")
    ] = True,
) -> None:
    """Create the databases if need be and apply the migrations that are missing, once, under a lease."""
    topology = load(TopologySettings, stores_environment())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        applied = asyncio.run(_migrate(topology, create_databases, wait, lock_wait, indexes))
    except Unavailable as error:
        fail(f"migrate failed: {error}")
    except Exception as error:  # noqa: BLE001 - whatever the driver says is for the person at the terminal
        fail(f"migrate failed: {type(error).__name__}: {error}")
    for region, names in applied.items():
        console.print(f"{region}: {', '.join(names) if names else 'up to date'}")


async def _migrate(
    topology: TopologySettings, create_databases: bool, wait: float, lock_wait: float, indexes: bool
) -> dict[str, list[str]]:
    # By the maintenance database: those of the regions may not exist yet.
    server = topology.model_copy(update={"region_databases": dict.fromkeys(topology.regions, MAINTENANCE_DATABASE)})
    databases = await RegionDatabases.open(server)
    try:
        deadline = asyncio.get_running_loop().time() + wait
        await databases.wait_until_reachable(deadline, say_once(), may_be_missing=create_databases)
    finally:
        await databases.close()
    patience = replace(PATIENCE, blocked=lock_wait)
    return await migrate_all(topology, create_databases=create_databases, indexes=indexes, patience=patience)
