"""Print what the user sees: notes, the processes' log lines under coloured names, the table of addresses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")


class Output:
    """Write to standard output, and drop everything once its reader is gone."""

    def __init__(self, names: Iterable[str] = (), *, quiet: bool = False) -> None:
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.quiet = quiet
        self._gone = False
        self._prefixes: dict[str, str] = {}
        self.name_processes(names)

    def name_processes(self, names: Iterable[str]) -> None:
        """Prepare one prefix of equal width for each process."""
        ordered = list(names)
        width = max(map(len, ordered), default=0)
        for index, name in enumerate(ordered):
            colour = _COLOURS[index % len(_COLOURS)]
            self._prefixes[name] = self._render(Text(f"{name:<{width}} | ", style=colour), end="")

    def note(self, text: str) -> None:
        """Print a message of the supervisor."""
        self._write(self._render(Text(text, style="bold")))

    def error(self, text: str) -> None:
        """Print why the cluster stops."""
        self._write(self._render(Text(text, style="bold red")))

    def log_lines(self, name: str, lines: list[str]) -> None:
        """Print lines that a process wrote."""
        if not self.quiet:
            prefix = self._prefixes.get(name, f"{name} | ")
            self._write("".join(f"{prefix}{line}\n" for line in lines))

    def addresses(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Print the table of (what, address, log file)."""
        table = Table("process", "address", "log")
        for row in rows:
            table.add_row(*row)
        self._write(self._render(table))

    def _render(self, what: RenderableType, end: str = "\n") -> str:
        with self._console.capture() as capture:
            self._console.print(what, end=end)
        return capture.get()

    def _write(self, text: str) -> None:
        if self._gone:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:  # the pipe or the terminal is closed; the cluster goes on without it
            self._gone = True
            # What is still buffered would fail again when the interpreter ends, and change the exit code.
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
