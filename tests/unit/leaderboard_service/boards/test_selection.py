"""The search for a page of any depth against sorting: exact, in few rounds, and with an end while players move."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from math import ceil, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboard_service.boards.ranges import Point
from leaderboard_service.boards.ranking import PagePart, RankedRow, Row
from leaderboard_service.boards.results import Page
from leaderboard_service.boards.selection import MOST_ROUNDS, SAMPLES, Sample, read_page

Key = tuple[int, bytes]


class Parts:
    """A board in parts, each of which answers as a shard does; `between` is called before each round trip."""

    def __init__(self, parts: Sequence[Sequence[Point]]) -> None:
        # Ascending, for bisect: board order from the end.
        self.keys = [sorted(point.order for point in part) for part in parts]
        self.rounds = 0
        self.most_rows = 0
        self.between: Callable[[], None] = lambda: None

    def board(self) -> list[RankedRow]:
        """Rank all rows by sorting and counting."""
        keys = sorted((key for part in self.keys for key in part), reverse=True)
        ranked: list[RankedRow] = []
        for number, (score, user_id) in enumerate(keys, 1):
            tied = ranked and ranked[-1].key == score
            ranked.append(RankedRow(ranked[-1].rank if tied else number, number, user_id.decode(), "N", "EU", score))
        return ranked

    async def page(self, offset: int, limit: int) -> Page:
        return await read_page(offset, limit, self._sample, self._read)

    async def _sample(self, after: Point, up_to: Point) -> Sequence[Sample]:
        self.between()
        self.rounds += 1
        return [self._sample_of(part, after, up_to) for part in self.keys]

    def _sample_of(self, part: list[Key], after: Point, up_to: Point) -> Sample:
        low = _at_and_before(part, after)
        high = max(low, _at_and_before(part, up_to))
        stride = max(1, ceil((high - low) / SAMPLES))
        rows = [(_point(part[-count]), count) for count in range(low + stride, high + 1, stride)]
        assert len(rows) <= SAMPLES
        return Sample(len(part), low, high, rows)

    async def _read(self, after: Point, rows: int) -> Sequence[PagePart]:
        self.between()
        self.most_rows = max(self.most_rows, rows)
        return [self._part_after(part, after, rows) for part in self.keys]

    def _part_after(self, part: list[Key], after: Point, rows: int) -> PagePart:
        start = _at_and_before(part, after)
        found = [_point(key) for key in reversed(part[max(0, len(part) - start - rows) : len(part) - start])]
        above = _above(part, found[0].key) if found else 0
        in_order = [Row(point.member, point.key, "N", "EU") for point in found]
        return PagePart.of(len(part), start, above, in_order, len(part), after.key, _above(part, after.key))


def _point(key: Key) -> Point:
    return Point(key[0], key[1].decode())


def _at_and_before(part: list[Key], point: Point) -> int:
    return len(part) - bisect_left(part, point.order)


def _above(part: list[Key], score: int) -> int:
    return len(part) - bisect_left(part, (score + 1, b""))


def most_rounds(rows: int, limit: int) -> int:
    """How many rounds a board that stands still needs at most, with one for what rounding up adds."""
    margin = max(8, limit // 8)
    return 2 + ceil(log(max(1, rows / (SAMPLES * margin))) / log(SAMPLES / 2))


user_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)
players = st.dictionaries(user_ids, st.tuples(st.integers(-3, 3), st.integers(0, 63)), max_size=150)
"""user_id → (score, part): few scores, so that ties abound."""


@settings(max_examples=300)
@given(players, st.integers(2, 64), st.integers(0, 160), st.integers(1, 20))
async def test_a_page_of_any_depth(spread: dict[str, tuple[int, int]], count: int, offset: int, limit: int) -> None:
    parts: list[list[Point]] = [[] for _ in range(count)]
    for user_id, (score, part) in spread.items():
        parts[part % count].append(Point(score, user_id))
    board = Parts(parts)
    expected = board.board()
    page = await board.page(offset, limit)
    assert page == Page(len(spread), expected[offset : offset + limit], offset + limit < len(spread))
    assert board.rounds <= most_rounds(len(spread), limit)


SPREADS: dict[str, Callable[[random.Random, int], tuple[int, int]]] = {
    "evenly": lambda chance, parts: (chance.randrange(10**6), chance.randrange(parts)),
    "by-score": lambda chance, parts: (score := chance.randrange(10**6), score * parts // 10**6),
    "one-has-most": lambda chance, parts: (
        chance.randrange(10**6),
        chance.randrange(parts) if chance.random() < 0.05 else 0,
    ),
    "all-tied": lambda chance, parts: (7, chance.randrange(parts)),
    "few-scores-of-one-part": lambda chance, parts: (part := chance.randrange(parts), part),
    "scores-double": lambda chance, parts: (2 ** chance.randrange(53), chance.randrange(parts)),
}


@pytest.mark.parametrize("count", [2, 5, 64])
@pytest.mark.parametrize("spread", SPREADS)
async def test_few_rounds_however_players_are_spread(spread: str, count: int) -> None:
    chance, size = random.Random(count), 10_000
    parts: list[list[Point]] = [[] for _ in range(count)]
    for number in range(size):
        score, part = SPREADS[spread](chance, count)
        parts[part].append(Point(score, f"{number * 7919 % size:05}"))
    board = Parts(parts)
    expected = board.board()
    for offset in (0, 9, 300, 999, size // 3, size - 1234, size - 1, size, 2**53 - 1):
        for limit in (1, 100):
            board.rounds = 0
            page = await board.page(offset, limit)
            assert page == Page(size, expected[offset : offset + limit], offset + limit < size)
            assert board.rounds <= most_rounds(size, limit) <= 6
    assert board.most_rows <= 100 + 100 // 2


@pytest.mark.parametrize("moving", [1, 20, 500])
async def test_a_page_while_players_move(moving: int) -> None:
    """A page is one of the board as of its last round trip, and the right one unless too many cross its beginning."""
    chance, size, count = random.Random(moving), 2000, 3
    board = Parts(
        [[Point(chance.randrange(50), f"{number:04}-{part}") for number in range(size)] for part in range(count)]
    )

    def move() -> None:
        for _ in range(moving):
            part = chance.choice(board.keys)
            _, user_id = part.pop(chance.randrange(len(part)))
            insort(part, (chance.randrange(50), user_id))

    board.between = move
    exact = 0
    for _ in range(20):
        offset, board.rounds = chance.randrange(size * count - 50), 0
        page = await board.page(offset, 50)
        as_of_now = board.board()
        place = as_of_now.index(page.rows[0])
        assert page == Page(len(as_of_now), as_of_now[place : place + 50], place + 50 < len(as_of_now))
        assert board.rounds <= MOST_ROUNDS
        exact += place == offset
        assert abs(place - offset) <= 3 * moving
    assert exact == 20 or moving > 20


@pytest.mark.parametrize("trip", range(1, 5))
async def test_a_board_that_shrinks_before_the_page_is_read(trip: int) -> None:
    board = Parts([[Point(number, f"{number}-{part}") for number in range(1000)] for part in range(2)])
    trips = 0

    def shrink() -> None:
        nonlocal trips
        trips += 1
        if trips == trip:
            for part in board.keys:
                del part[400:]

    board.between = shrink
    page = await board.page(1500, 10)
    whole = trips < trip
    assert (page.total, len(page.rows), page.more) == ((2000, 10, True) if whole else (800, 0, False))


@pytest.mark.parametrize("trip", range(1, 4))
@pytest.mark.parametrize("up", [True, False])
async def test_bounds_that_players_have_crossed_are_given_up(trip: int, *, up: bool) -> None:
    """Many move over the page at once, before one of the round trips: it is exact all the same."""
    size, many, offset = 4000, 700, 5000
    board = Parts([[Point(number, f"{number:04}-{part}") for number in range(size)] for part in range(2)])
    trips = 0

    def move() -> None:
        nonlocal trips
        trips += 1
        if trips == trip:
            for part in board.keys:
                moved = part[:many] if up else part[-many:]
                score = size if up else -1
                part[:] = sorted([*(part[many:] if up else part[:-many]), *((score, user_id) for _, user_id in moved)])

    board.between = move
    page = await board.page(offset, 20)
    assert trips > trip
    assert page.rows == board.board()[offset : offset + 20]
    assert board.rounds <= 2 * most_rounds(2 * size, 20)
