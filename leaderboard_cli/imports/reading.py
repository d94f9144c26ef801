"""Read the lines of a file twice, however long it is; standard input goes through a temporary file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeVar

MAX_LINE: Final = 65_536
_BOM: Final = b"\xef\xbb\xbf"

T = TypeVar("T")


class Line(NamedTuple):
    """A line that is not blank: its number, from 1, and how far the file is read behind it (bytes).

    `text` is None for one that is longer than MAX_LINE.
    """

    number: int
    text: bytes | None
    position: int


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """Open a file that can be read again; "-" is standard input. Raises OSError."""
    if file != "-" and Path(file).is_file():
        with Path(file).open("rb") as found:
            yield found
        return
    with tempfile.TemporaryFile() as copy:
        if file == "-":
            shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            with Path(file).open("rb") as found:  # a pipe, such as <(zcat …)
                shutil.copyfileobj(found, copy)
        yield copy


def lines_of(file: BinaryIO) -> Iterator[Line]:
    """Yield the lines of a file from its beginning."""
    file.seek(0)
    number = position = 0
    while text := file.readline(MAX_LINE + 1):
        number += 1
        position += len(text)
        whole = len(text) <= MAX_LINE or text.endswith(b"\n")
        while not text.endswith(b"\n") and len(text) > MAX_LINE:
            text = file.readline(MAX_LINE + 1)
            position += len(text)
        if number == 1:
            text = text.removeprefix(_BOM)
        if not whole or text.strip():
            yield Line(number, text.strip() if whole else None, position)


def pages_of(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Cut items into pages of at most so many."""
    page: list[T] = []
    for item in items:
        page.append(item)
        if len(page) == most:
            yield page
            page = []
    if page:
        yield page
