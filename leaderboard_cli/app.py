"""Assemble the `leaderboard` command line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from leaderboard_cli import healthcheck
from leaderboard_cli.commands.backup import backup
from leaderboard_cli.commands.check import check
from leaderboard_cli.commands.check_queue import check_queue
from leaderboard_cli.commands.dead_letters import app as dead_letters
from leaderboard_cli.commands.migrate import migrate
from leaderboard_cli.commands.players import app as players
from leaderboard_cli.commands.rebuild import rebuild_command
from leaderboard_cli.commands.regions import app as regions
from leaderboard_cli.commands.reset import reset
from leaderboard_cli.commands.restore import restore
from leaderboard_cli.commands.seed import seed
from leaderboard_cli.commands.status import status
from leaderboard_cli.commands.token import token
from leaderboard_cli.commands.up import up
from leaderboard_cli.commands.verify import verify
from leaderboard_cli.console import errors
from leaderboard_client import __version__
from leaderboard_core.errors import LeaderboardError
from leaderboard_core.settings import SettingsError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Runs and looks after the leaderboard system.",
)
app.command()(up)
app.command()(check)
app.command()(status)
app.command()(migrate)
app.command("check-queue")(check_queue)
app.command()(verify)
app.command("rebuild")(rebuild_command)
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(regions, name="regions")
app.add_typer(players, name="players")
app.command()(backup)
app.command()(restore)
app.command()(token)
app.command()(seed)
app.command()(reset)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"leaderboard {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options of `leaderboard` itself."""


@app.command("healthcheck", help=healthcheck.SUMMARY)
def _healthcheck(url: str = typer.Argument("", help="Default: /health on PORT."), timeout: float = 3) -> None:
    # Only for the list of commands: __main__ runs the check before this module is imported.
    raise typer.Exit(healthcheck.main([*([url] if url else []), f"--timeout={timeout}"]))


def main() -> None:
    """Run a command; print what the user can correct as a plain message, with exit code 1."""
    try:
        app()
    except (SettingsError, LeaderboardError) as error:
        errors.print("\n".join((str(error), *getattr(error, "__notes__", ()))), style="red", markup=False)
        sys.exit(1)
