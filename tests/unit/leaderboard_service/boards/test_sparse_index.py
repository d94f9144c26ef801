"""A sparse index against counting every row."""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest

from leaderboard_service.boards.ranges import END, START, Point
from leaderboard_service.boards.sparse_index import STRIDE, SparseIndex, in_board_order, sum_pieces

Key = tuple[int, bytes]


def board(rows: int, scores: int) -> list[Point]:
    """Make the rows of a board, in board order; names differ in bytes and in length."""
    chance = random.Random(rows)
    names = [f"{chance.choice(['a', 'Z', 'é', 'フ', '-'])}{number}" for number in range(rows)]
    return in_board_order(Point(chance.randrange(-scores, scores), name) for name in names)


def index_of(rows: list[Point]) -> SparseIndex:
    return SparseIndex("1", len(rows), rows[STRIDE - 1 :: STRIDE])


def key(point: Point) -> Key:
    return point.key, point.member.encode()


class Counter:
    """Counts the rows of a board."""

    def __init__(self, rows: list[Point]) -> None:
        self._ascending = sorted(map(key, rows))

    def before(self, point: Point) -> int:
        return len(self._ascending) - bisect_right(self._ascending, key(point))

    def places(self, index: SparseIndex, points: list[Point]) -> tuple[dict[Point, int], int]:
        """Count what the index asks for; return the places, and the most rows counted for one of them."""
        pieces = index.pieces(in_board_order(points))
        counts = [self.at_and_before(piece.start, piece.end) for piece in pieces]
        return sum_pieces(pieces, counts), max(counts)

    def at_and_before(self, start: Point, end: Point) -> int:
        return bisect_right(self._ascending, key(start)) - bisect_right(self._ascending, key(end))


SIZES = [0, 1, STRIDE - 1, STRIDE, STRIDE + 1, 3 * STRIDE + 17]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scores", [1, 3, 10**9])
def test_places_are_those_of_a_count_and_take_a_short_one(size: int, scores: int) -> None:
    rows = board(size, scores)
    counter, index = Counter(rows), index_of(rows)
    marks = rows[STRIDE - 1 :: STRIDE]
    wanted = [START, END, *rows[:: max(1, size // 7)], *marks, *(Point(score, "") for score in (-2, 0, 1))]
    expected = {point: counter.before(point) for point in wanted}
    found, most = counter.places(index, wanted)
    assert found == expected
    assert most <= STRIDE
    assert counter.places(SparseIndex(None, size), wanted)[0] == expected
    for point in wanted:
        assert counter.places(index, [point])[0] == {point: expected[point]}


def test_without_marks_no_row_is_counted_twice() -> None:
    rows = board(500, 20)
    counter = Counter(rows)
    pieces = SparseIndex(None, 0).pieces(in_board_order(rows))
    assert sum(counter.at_and_before(piece.start, piece.end) for piece in pieces) == len(rows) - 1


@pytest.mark.parametrize("size", SIZES)
def test_an_offset_is_reached_from_the_mark_before_it(size: int) -> None:
    rows = board(size, 5)
    counter = Counter(rows)
    for offset in {0, 1, STRIDE - 2, STRIDE - 1, STRIDE, STRIDE + 1, max(0, size - 1), size + 5, 10 * size}:
        mark, skipped = index_of(rows).offset_from_mark(offset)
        assert counter.before(mark) + skipped == offset
        assert skipped < STRIDE or offset >= size
        assert SparseIndex(None, size).offset_from_mark(offset) == (START, offset)
