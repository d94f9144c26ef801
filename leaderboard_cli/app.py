"""Assemble the `leaderboard` command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, Final

import typer

from leaderboard_cli import healthcheck
from leaderboard_cli.cluster.environment import DOTENV, read_environment
from leaderboard_cli.console import errors
from leaderboard_client import __version__
from leaderboard_core.errors import LeaderboardError
from leaderboard_core.settings import SettingsError

COMMANDS: Final = {
    "up": "up:up",
    "check": "check:check",
    "status": "status:status",
    "migrate": "migrate:migrate",
    "check-queue": "check_queue:check_queue",
    "verify": "verify:verify",
    "rebuild": "rebuild:rebuild_command",
    "dead-letters": "dead_letters:app",
    "regions": "regions:app",
    "repartition": "repartition:repartition",
    "players": "players:app",
    "boards": "boards:app",
    "backup": "backup:backup",
    "restore": "restore:restore",
    "token": "token:token",
    "seed": "seed:seed",
    "reset": "reset:reset",
}
"""Where each command is, in `leaderboard_cli.commands`: a function, or an application of several."""


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"leaderboard {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options of `leaderboard` itself."""


def _healthcheck(url: str = typer.Argument("", help="Default: /health on PORT."), timeout: float = 3) -> None:
    # Only for the list of commands: __main__ runs the check before this module is imported.
    raise typer.Exit(healthcheck.main([*([url] if url else []), f"--timeout={timeout}"]))


def build(named: str = "") -> typer.Typer:
    """Assemble the command line: the command of that name alone, or all of them.

    Their imports take longer than most of what they do: a command waits for its own only.
    """
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Runs and looks after the leaderboard system.",
    )
    names = () if named == "--version" else (named,) if named in COMMANDS else COMMANDS
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(f"leaderboard_cli.commands.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    app.callback()(_options)
    app.command("healthcheck", help=healthcheck.SUMMARY)(_healthcheck)
    return app


def defaults_of(command: Any, values: Mapping[str, str]) -> dict[str, Any]:
    """Return what variables say of the options of a command and its subcommands, as Click's `default_map` has it."""
    found: dict[str, Any] = {
        option.name: values[option.envvar]
        for option in command.params
        if isinstance(option.envvar, str) and option.envvar in values
    }
    subcommands = getattr(command, "commands", {})  # of a group; its class is Click's or Typer's own
    return found | {name: defaults_of(one, values) for name, one in subcommands.items()}


def main() -> None:
    """Run a command; print what the user can correct as a plain message, with exit code 1.

    Options whose variables are in `.env` have these as their defaults: what the environment says comes first.
    """
    command = typer.main.get_command(build(*sys.argv[1:2]))
    try:
        command(default_map=defaults_of(command, read_environment({}, DOTENV)))
    except (SettingsError, LeaderboardError) as error:
        errors.print("\n".join((str(error), *getattr(error, "__notes__", ()))), style="red", markup=False)
        sys.exit(1)
