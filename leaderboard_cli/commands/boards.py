"""`leaderboard boards`: show the boards and their rules, state them from a file, delete boards, and import scores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from leaderboard_cli.boards_file import BadFile, Boards, as_text, read_boards
from leaderboard_cli.commands.access import call_system, server_access
from leaderboard_cli.commands.board_import import import_command
from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.console import console, fail
from leaderboard_client import Client, DefinedBoard, LeaderboardError

app = typer.Typer(no_args_is_help=True, help="The boards: show or state their rules, delete some, or import scores.")
app.command("import")(import_command)

T = TypeVar("T")

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
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
    typer.echo(as_text({found.board: found.definition}))


@app.command()
def apply(
    file: Annotated[str, typer.Argument(help='JSON or YAML, as {"main": {"min_score": 0}}; - reads standard input.')],
    prune: Annotated[bool, typer.Option("--prune", help="Delete the boards that it does not name.")] = False,
    yes: Yes = False,
    url: Url = "",
) -> None:
    """Make the boards that a file names, or state their rules; the same file once more changes nothing.

    What it leaves out of a board's rules is as it was at the beginning. Other boards stay as they are, without --prune.
    """
    name = "standard input" if file == "-" else file
    wanted = _read(file, name)
    if prune and file == "-" and not yes:
        fail("--prune of what is in standard input needs --yes: the answer could not be asked for.")
    _call(url, partial(_apply, wanted=wanted, name=name, prune=prune, yes=yes))


@app.command()
def delete(board: Annotated[str, typer.Argument(help="The board's name.")], yes: Yes = False, url: Url = "") -> None:
    """Delete a board for good, with its entries."""

    def work(client: Client) -> None:
        named = _named(board, client.board_definition(board).definition)
        if not yes and not typer.confirm(f"Delete {named} with all of its entries?", err=True):
            fail("Nothing was deleted.")
        client.delete_board(board)
        console.print(f"{board}: deleted", markup=False)

    _call(url, work)


def _read(file: str, name: str) -> Boards:
    try:
        return read_boards(sys.stdin.read() if file == "-" else Path(file).read_text("utf-8"), name)
    except (OSError, UnicodeError) as error:
        fail(f"{name} cannot be read: {error}")
    except BadFile as problem:
        fail(str(problem))


def _apply(client: Client, wanted: Boards, name: str, *, prune: bool, yes: bool) -> None:
    before = {board.board: board for board in _all_boards(client)}
    doomed = sorted(before.keys() - wanted.keys() - {"main"}) if prune else []
    if doomed:
        console.print(
            f"Not in {name}: {', '.join(_named(board, before[board].definition) for board in doomed)}", markup=False
        )
        if not yes and not typer.confirm("Delete these boards with all of their entries?", err=True):
            fail("Nothing was changed.")
    for number, (board, rules) in enumerate(wanted.items()):
        try:
            now = client.define_board(board, rules)
        except LeaderboardError as error:
            if error.code != "too_many_boards" or not doomed:
                error.add_note(f"Refused: {board}." + (" The boards above are as the file says." if number else ""))
                raise
            doomed = _delete(client, doomed)  # there is room for it only then
            now = client.define_board(board, rules)
        known = before.get(board)
        said = "made, " if known is None else "unchanged, " if known.version == now.version else ""
        console.print(f"{board}: {said}version {now.version}", markup=False)
    _delete(client, doomed)  # last: where a rule is refused nothing is gone


def _delete(client: Client, doomed: list[str]) -> list[str]:
    """Delete boards; returns those that are left, which are none."""
    for board in doomed:
        client.delete_board(board)
        console.print(f"{board}: deleted", markup=False)
    return []


def _all_boards(client: Client) -> list[DefinedBoard]:
    page = client.boards()
    boards = list(page.boards)
    while page.next_cursor is not None:
        page = client.boards(cursor=page.next_cursor)
        boards += page.boards
    return boards


def _named(board: str, definition: Mapping[str, Any]) -> str:
    title = definition.get("title")
    return f"{board} ({title})" if title else board


def _where(board: DefinedBoard) -> str:
    return "" if board.everywhere else "  (some Redis does not go by it yet)"


def _call(url: str, call: Callable[[Client], T]) -> T:
    return call_system(server_access("boards", url, command_environment(), "admin"), call)
