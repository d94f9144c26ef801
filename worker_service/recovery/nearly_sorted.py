"""Puts pages of players nearly in the order of their scores, with a bounded number of them in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from operator import itemgetter
from typing import Any

_SCORE = itemgetter("score")


async def by_score(pages: AsyncIterable[Sequence[Any]], held: int) -> AsyncGenerator[Sequence[Any], None]:
    """Yield the rows of pages, each as large as one of them, by score from where the last page ended.

    So many rows are held back, of which the next ones are chosen; when none has a higher score, it begins with the
    lowest again. Rows in any order come in runs of about twice the number held (replacement selection; Knuth, The Art
    of Computer Programming, volume 3, section 5.4.1).
    """
    waiting: list[Any] = []
    size, last = 0, None
    async for page in pages:
        size = max(size, len(page))
        waiting += page
        waiting.sort(key=_SCORE)
        surplus = len(waiting) - held
        if surplus > 0:
            chosen = _take(waiting, last, surplus)
            last = _SCORE(chosen[-1])
            yield chosen
    rest = _take(waiting, last, len(waiting))
    for first in range(0, len(rest), size or 1):
        yield rest[first : first + size]


def _take(waiting: list[Any], last: Any, number: int) -> list[Any]:
    """Take so many rows out of a sorted list: those with higher scores than the last one, then from the lowest on."""
    start = 0 if last is None else bisect_right(waiting, last, key=_SCORE)
    chosen = waiting[start : start + number]
    del waiting[start : start + number]
    lacking = number - len(chosen)
    chosen += waiting[:lacking]
    del waiting[:lacking]
    return chosen
