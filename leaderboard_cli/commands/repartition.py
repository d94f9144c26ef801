"""`leaderboard repartition`: spread the players of a Redis over several, of several over more or fewer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import asyncpg
import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from leaderboard_cli.backup.boards import Locks, while_locked
from leaderboard_cli.backup.manifest import BackupProblem
from leaderboard_cli.commands.environment import stores_environment
from leaderboard_cli.console import console, errors, fail
from leaderboard_cli.repartition import plan as plans
from leaderboard_cli.repartition.plan import AlreadySpread, RepartitionProblem
from leaderboard_cli.repartition.run import Reports, Run
from leaderboard_core.errors import describe
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.postgres.layouts import Repartition, end_repartition, read_repartition
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import TopologySettings, WorkerSettings, load
from worker_service.recovery.restore import RebuildInterrupted

_COLUMNS = (SpinnerColumn(), TextColumn("{task.description}: {task.completed}"), BarColumn(), TimeElapsedColumn())


def repartition(
    urls: Annotated[
        str, typer.Argument(help="The new value of REDIS_URL: one URL, or several with commas between them.")
    ] = "",
    region: Annotated[
        str, typer.Option(help="Change REDIS_URL_<REGION> of this region in the place of REDIS_URL.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Call off one that has ended before anything was changed.")
    ] = False,
) -> None:
    """Spread players over other Redis. Meanwhile boards are read from Postgres, and writes get 503.

    The environment still names the Redis as they are. Run it again if it ends early: it goes on where it was.
    """
    if abandon == bool(urls):
        fail("Name the new value of REDIS_URL, or --abandon.")
    try:
        asyncio.run(_abandon() if abandon else _repartition(urls, region.upper(), yes))
    except RepartitionProblem as problem:
        fail(f"Not repartitioned. {problem}")
    except AlreadySpread as done:
        console.print(str(done), highlight=False, soft_wrap=True)
    except RebuildInterrupted as problem:
        fail(f"It ended early: {problem}. Run the same command again: it goes on, or says that workers do.")
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        fail(f"Postgres cannot be reached: {describe(error)}. Run the same command again.")


async def _repartition(urls: str, region: str, yes: bool) -> None:
    environ = stores_environment()
    variable, changed = plans.changed(environ, urls, region)
    topology, wanted = load(TopologySettings, environ), load(TopologySettings, changed)
    old, new = ShardMap.open(topology), ShardMap.open(wanted)
    databases = await RegionDatabases.open(topology)
    try:
        plan = plans.make(variable, wanted.redis_url_of(region or GLOBAL), old, new)
        before = await plans.find_mark(plan, databases)
        if before is None or before.stage != "switch":
            await plans.check(plan, begun=before is not None)
        await _work(plan, before, databases, topology, load(WorkerSettings, environ), yes)
    finally:
        await old.close()
        await new.close()
        await databases.close()


async def _work(
    plan: plans.Plan,
    before: Repartition | None,
    databases: RegionDatabases,
    topology: TopologySettings,
    settings: WorkerSettings,
    yes: bool,
) -> None:
    pools = {databases[region] for region in plan.regions}
    players = sum([await pool.fetchval(sql.load("count_players")) for pool in pools])
    console.print(
        f"{players:,} players of {', '.join(plan.regions)}: from {len(plan.old)} to {len(plan.new)} Redis.",
        highlight=False,
    )
    if not (yes or before or typer.confirm("Until it is done writes get 503. Begin?", err=True)):
        raise typer.Exit(1)
    with Progress(*_COLUMNS, console=errors) as progress:
        waiting = progress.add_task("events that wait", total=None)
        compared = progress.add_task("players compared", total=players)
        emptied = progress.add_task("keys removed", total=None)
        filled = progress.add_task("players read", total=players)
        run = Run(
            plan,
            databases,
            topology,
            settings,
            Reports(
                lambda events: progress.update(waiting, completed=events),
                lambda _, count: progress.advance(compared, count),
                lambda count: progress.advance(emptied, count),
                lambda _, count: progress.advance(filled, count),
            ),
            before,
        )
        switched = before is not None and before.stage == "switch"
        step: Callable[[], Awaitable[None]] = run.finish_switch if switched else run.drain_and_switch
        await step()
        console.print("The players are of the new layout; the new Redis are being filled.", highlight=False)
        await run.fill()
    console.print(
        f"Done. Set {plan.variable} to the new value for every process, and start workers, services and gateways anew.",
        highlight=False,
    )


async def _abandon() -> None:
    topology = load(TopologySettings, stores_environment())
    shard_map, databases = ShardMap.open(topology), await RegionDatabases.open(topology)

    async def end(_locks: Locks) -> bool:
        under_way = await read_repartition(databases[GLOBAL])
        if under_way is not None and under_way.stage == "switch":
            raise RepartitionProblem("Its players are spread anew already: run the same command again, it goes on.")
        if under_way is not None:
            await end_repartition(databases[GLOBAL], under_way)
        return under_way is not None

    try:
        # Under the locks that the command holds for as long as it runs.
        if await while_locked(shard_map.shards, end):
            console.print("It is called off. Workers open the Redis again, as they were.")
        else:
            console.print("No repartition is under way.")
    except BackupProblem as problem:
        raise RepartitionProblem(str(problem)) from problem
    finally:
        await shard_map.close()
        await databases.close()
