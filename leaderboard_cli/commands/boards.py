"""`leaderboard boards`: show the boards and their rules, and state them from a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from leaderboard_cli.commands.access import call_system, server_access
from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.console import console, fail
from leaderboard_client import Client, DefinedBoard

app = typer.Typer(no_args_is_help=True, help="The boards and their rules: show them, or state them from a file.")

T = TypeVar("T")

Url = Annotated[str, typer.Option(help="Where the system answers; default the local cluster.")]


@app.command("list")
def list_boards(url: Url = "") -> None:
    """Show all boards by name."""
    for board in _call(url, _all_boards):
        title = board.definition.get("title") or "no title"
        console.print(f"{board.board}  version {board.version}  {title}{_where(board)}", markup=False)


@app.command()
def show(board: Annotated[str, typer.Argument(help="The board's name.")], url: Url = "") -> None:
    """Print a board's rules as `apply` takes them, and nothing else."""
    found = _call(url, lambda client: client.board_definition(board))
    typer.echo(json.dumps({found.board: found.definition}, indent=2, ensure_ascii=False))


@app.command()
def apply(
    file: Annotated[str, typer.Argument(help='JSON such as {"main": {"min_score": 0}}; - reads standard input.')],
    url: Url = "",
) -> None:
    """State the rules of the boards that a file names; the same file once more changes nothing.

    What it leaves out of a board's rules is as it was at the beginning. Other boards stay as they are.
    """
    wanted = _read(file)
    for name, definition in wanted.items():
        before, now = _call(url, partial(_state, name=name, rules=definition))
        said = "unchanged, " if before == now.version else ""
        console.print(f"{name}: {said}version {now.version}", markup=False)


def _read(file: str) -> dict[str, dict[str, Any]]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        found = json.loads(text)
    except (OSError, ValueError) as error:
        fail(f"{file} cannot be read as JSON: {error}")
    if not isinstance(found, dict) or not all(isinstance(rules, dict) for rules in found.values()):
        fail(f'{file} is to have one object of rules for each board, such as {{"main": {{"min_score": 0}}}}.')
    return found


def _all_boards(client: Client) -> list[DefinedBoard]:
    page = client.boards()
    boards = list(page.boards)
    while page.next_cursor is not None:
        page = client.boards(cursor=page.next_cursor)
        boards += page.boards
    return boards


def _state(client: Client, name: str, rules: dict[str, Any]) -> tuple[int, DefinedBoard]:
    """State a board's rules; return the version of before and the board as it is now."""
    before = {board.board: board.version for board in _all_boards(client)}
    return before.get(name, -1), client.define_board(name, rules)


def _where(board: DefinedBoard) -> str:
    return "" if board.everywhere else "  (some Redis does not go by it yet)"


def _call(url: str, call: Callable[[Client], T]) -> T:
    return call_system(server_access("boards", url, command_environment(), "admin"), call)
