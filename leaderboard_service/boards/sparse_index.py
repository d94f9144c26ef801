"""Computes places on a board from a sparse index: the point of every thousandth row, as of one snapshot."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from leaderboard_service.boards.ranges import START, Point

STRIDE = 1000
"""Rows from one mark to the next: what a read has to count at most, in a third of a millisecond."""


class Piece(NamedTuple):
    """Rows at and after `start` and before `end`, to be counted on top of `known`: None for the piece before it."""

    start: Point
    known: int | None
    end: Point


class SparseIndex:
    """Every STRIDE-th row of a board, and how many there are, as of the database's `version`.

    Marks are the points of those rows, in board order.
    """

    __slots__ = ("_keys", "marks", "total", "version")

    def __init__(self, version: str | None, total: int, marks: Sequence[Point] = ()) -> None:
        self.version = version
        self.total = total
        self.marks = (START, *marks)
        self._keys = [mark.order for mark in reversed(self.marks)]

    def offset_from_mark(self, offset: int) -> tuple[Point, int]:
        """Return the last mark that is not behind the row after `offset` others, and how many rows lie between."""
        number = min((offset + 1) // STRIDE, len(self.marks) - 1)
        return self.marks[number], offset - _rows_before(number)

    def marks_between(self, low: int, high: int, most: int) -> list[tuple[Point, int]]:
        """Return marks with more than `low` and at most `high` rows at and before them, and these counts.

        If there are more than `most`, so many of them, evenly spread.
        """
        first, last = low // STRIDE + 1, high // STRIDE
        step = max(1, -(-(last - first + 1) // most))
        return [(self.marks[number], number * STRIDE) for number in range(first, last + 1, step)]

    def pieces(self, points: Sequence[Point]) -> list[Piece]:
        """Say what to count for each of some points, given in board order, so that no row is counted twice."""
        found: list[Piece] = []
        for point in points:
            number = max(0, len(self.marks) - 1 - bisect_left(self._keys, point.order))
            mark = self.marks[number]
            if found and found[-1].end.order < mark.order:
                found.append(Piece(found[-1].end, None, point))
            else:
                found.append(Piece(mark, _rows_before(number), point))
        return found


def in_board_order(points: Iterable[Point]) -> list[Point]:
    """Sort points as a board has them, each once."""
    return sorted(set(points), key=lambda point: point.order, reverse=True)


def sum_pieces(pieces: Sequence[Piece], counts: Sequence[int]) -> dict[Point, int]:
    """Return how many rows are before each point, given the rows of each of its pieces."""
    before: dict[Point, int] = {}
    last = 0
    for piece, count in zip(pieces, counts, strict=True):
        last = before[piece.end] = count + (last if piece.known is None else piece.known)
    return before


def _rows_before(number: int) -> int:
    return number * STRIDE - 1 if number else 0
