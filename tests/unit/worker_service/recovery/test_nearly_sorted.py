"""Tests of the order in which a rebuild restores players."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker_service.recovery.nearly_sorted import by_score


def yielded(scores: Sequence[int], page: int, held: int) -> list[list[dict[str, Any]]]:
    rows = [{"user_id": number, "score": score} for number, score in enumerate(scores)]

    async def pages() -> AsyncIterator[Sequence[Any]]:
        for first in range(0, len(rows), page):
            yield rows[first : first + page]

    async def collected() -> list[list[dict[str, Any]]]:
        return [list(found) async for found in by_score(pages(), held)]

    return asyncio.run(collected())


def runs(scores: Sequence[int]) -> int:
    return 1 + sum(later < earlier for earlier, later in pairwise(scores))


@given(st.lists(st.integers(-5, 5)), st.integers(1, 7), st.integers(0, 20))
def test_every_row_comes_once_in_pages_no_larger_than_they_were(scores: list[int], page: int, held: int) -> None:
    found = yielded(scores, page, held)
    assert sorted(row["user_id"] for rows in found for row in rows) == list(range(len(scores)))
    assert all(0 < len(rows) <= page for rows in found)


def test_runs_are_longer_than_what_is_held() -> None:
    rng = random.Random(7)
    scores = [rng.randrange(10**9) for _ in range(20_000)]
    found = [row["score"] for rows in yielded(scores, 100, 1_000) for row in rows]
    assert runs(found) <= 20_000 / 1_500


def test_what_is_sorted_stays_so() -> None:
    found = [row["score"] for rows in yielded(range(5_000), 100, 1_000) for row in rows]
    assert found == list(range(5_000))


def test_equal_scores_are_not_held_back_for_ever() -> None:
    found = [row["user_id"] for rows in yielded([3] * 50, 5, 10) for row in rows]
    assert found == list(range(50))
