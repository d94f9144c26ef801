"""`leaderboard players`: help a player who cannot log in any more."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from leaderboard_cli.commands.access import call_system, server_access
from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.console import console, fail
from leaderboard_client import Client

app = typer.Typer(no_args_is_help=True, help="Players who cannot log in any more: a new password, a new secret.")

UserId = Annotated[str, typer.Argument(help="The player's user_id.")]
Url = Annotated[str, typer.Option(help="Where the system answers; default the local cluster.")]


@app.command()
def password(
    user_id: UserId,
    url: Url = "",
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from standard input, one line.")] = False,
) -> None:
    """Give a player another password; asks for it, so that it stands in no shell's history."""
    new = sys.stdin.readline().rstrip("\n") if stdin else getpass.getpass("New password: ")
    if not stdin and getpass.getpass("Once more: ") != new:
        fail("These are two different passwords; nothing was changed.")
    _call(url, lambda client: client.set_password(new, user_id))
    console.print(f"{user_id} has a new password.", markup=False)


@app.command()
def secret(user_id: UserId, url: Url = "") -> None:
    """Print a new secret of a player, and nothing else; the one before is worth nothing from now on."""
    typer.echo(_call(url, lambda client: client.new_secret(user_id)))


def _call(url: str, call: Callable[[Client], str | None]) -> str | None:
    return call_system(server_access("support", url, command_environment()), call)
