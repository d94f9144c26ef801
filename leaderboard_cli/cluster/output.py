"""Print what the user sees: notes, lines of the processes' logs under coloured names, what to do next."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")


class Show(Enum):
    """Which lines of the processes' logs are shown; the files have all of them."""

    NONE = auto()
    WARNINGS = auto()
    ALL = auto()


class Output:
    """Write to standard output, and drop everything once its reader is gone."""

    def __init__(self, names: Iterable[str] = (), *, show: Show = Show.WARNINGS) -> None:
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.show = show
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
        """Print lines that a process wrote: all as they are, or the warnings of our own processes in plain words."""
        if self.show is not Show.ALL:
            lines = [said for line in lines if (said := _warning(line))]
        if lines and self.show is not Show.NONE:
            prefix = self._prefixes.get(name, f"{name} | ")
            self._write("".join(f"{prefix}{line}\n" for line in lines))

    def pairs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print two columns, without a frame: for people who copy from them."""
        width = max(len(first) for first, _ in rows)
        self._write("".join(f"  {first:<{width}}  {second}".rstrip() + "\n" for first, second in rows))

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


_LEVELS_SHOWN = frozenset({"WARNING", "ERROR", "CRITICAL"})
_KNOWN_FROM_ELSEWHERE = frozenset({"time", "level", "process", "logger", "message", "request_id", "exception"})


def _warning(line: str) -> str | None:
    """Say in plain words what a JSON line of telemetry.logs warns of; None if it is another line."""
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if record.get("level") not in _LEVELS_SHOWN:
        return None
    rest = " ".join(f"{name}={value}" for name, value in record.items() if name not in _KNOWN_FROM_ELSEWHERE)
    last = str(record.get("exception", "")).strip().rsplit("\n", 1)[-1]
    said = "  ".join(part for part in (f"{record['level'].lower()}: {record.get('message', '')}", last, rest) if part)
    # What clients wrote stands in it: it must not speak to the terminal, or begin another line.
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in said)
