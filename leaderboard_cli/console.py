"""Print to the terminal for all commands."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> NoReturn:
    """Print an error message and exit with code 1."""
    errors.print(message, style="red", markup=False)
    raise typer.Exit(1)
