"""`leaderboard reset`: throw the local cluster's data away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard_cli.cluster.contents import contents, remove, was_used
from leaderboard_cli.cluster.environment import user_environment, wanted_servers
from leaderboard_cli.cluster.errors import AlreadyRunningError, ClusterError
from leaderboard_cli.cluster.pidfile import PidFile, exclusive
from leaderboard_cli.commands.data_dir import DataDir
from leaderboard_cli.console import console, fail
from leaderboard_cli.data_folder import data_folder


def reset(
    data_dir: DataDir = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove the local cluster's players, scores, logs and secrets for good; the cluster must be stopped."""
    environ = user_environment()
    folder = (data_dir or data_folder(environ)).absolute()
    if not was_used(folder):
        fail(f"No cluster has kept anything in {folder}.")
    try:
        with exclusive(folder):
            _reset(folder, yes=yes)
    except AlreadyRunningError as error:
        fail(f"Stop it first: {error.args[0].partition(';')[0]}.")
    except (ClusterError, OSError) as error:
        fail(f"{folder}: {error}")
    wanted = wanted_servers(environ)
    if not (wanted.redis and wanted.postgres):
        console.print("What is in the Redis and Postgres that your settings name was left alone.")


def _reset(folder: Path, *, yes: bool) -> None:
    doomed = contents(folder)
    if not doomed:
        console.print(f"{folder} is empty already.", markup=False)
        return
    console.print(f"In {folder}: {', '.join(path.name for path in doomed)}", markup=False)
    if not yes and not typer.confirm("Remove all players, scores, logs and secrets of this cluster for good?"):
        fail("Nothing was removed.")
    # A supervisor that was killed left its processes behind, and they would go on writing.
    PidFile(folder).end_leftovers()
    remove(contents(folder))
    console.print("Removed. The next start makes a new secret: tokens of before are worth nothing then.")
