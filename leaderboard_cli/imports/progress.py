"""Show how far an import is: a bar on a terminal, elsewhere a line from time to time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS: Final = 10.0


class Shown:
    """Shows one step after the other, each of which reads a file of `size` bytes."""

    def __init__(self, console: Console, size: int) -> None:
        self._console = console
        self._size = size
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
        self._progress = Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
        )
        self._step = ""
        self._task = TaskID(0)
        self._lines = 0
        self._began_at = self._said_at = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show what is read within as a step of that name."""
        self._step, self._lines = name, 0
        self._began_at = self._said_at = time.monotonic()
        self._task = self._progress.add_task(name, total=self._size, said="")
        yield

    def read(self, lines: int, position: int) -> None:
        """Note that so many lines more were done, up to that position (bytes)."""
        self._lines += lines
        now = time.monotonic()
        said = f"{self._lines:,} lines, {self._lines / max(now - self._began_at, 1e-9):,.0f}/s"
        self._progress.update(self._task, completed=position, said=said)
        if self._progress.disable and now - self._said_at >= LINE_SECONDS:
            self._said_at = now
            self._console.print(f"{self._step}: {100 * position // max(self._size, 1)}%, {said}", markup=False)
