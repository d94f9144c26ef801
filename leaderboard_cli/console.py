"""Print to the terminal for all commands."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> NoReturn:
    """Print an error message and exit with code 1."""
    errors.print(message, style="red", markup=False)
    raise typer.Exit(1)


def say_once() -> Callable[[str], None]:
    """Return what prints each message the first time it hears it."""
    said = set[str]()

    def say(message: str) -> None:
        if message not in said:
            said.add(message)
            console.print(message, style="yellow", markup=False)

    return say


def called_as() -> str:
    """Return what to type for this command: `leaderboard` where the shell finds this very one, else its path."""
    program = Path(sys.argv[0])
    found = shutil.which("leaderboard")
    if found is not None and program.exists() and Path(found).samefile(program):
        return "leaderboard"
    with suppress(ValueError):
        program = program.absolute().relative_to(Path.cwd())
    return str(program) if program.name == "leaderboard" else "python -m leaderboard_cli"
