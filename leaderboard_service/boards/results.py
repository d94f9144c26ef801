"""Defines what board reads return, from whichever store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leaderboard_service.boards.ranking import (
    NO_METADATA,
    ListRank,
    Metadata,
    PagePart,
    RankedRow,
    all_metadata,
    merge,
)


class Page(NamedTuple):
    """Consecutive rows of a board; `total` players are on the whole board, and `more` of those asked for follow.

    `metadata` is that of rows that have any, where it was asked for; so in the other answers.
    """

    total: int
    rows: list[RankedRow]
    more: bool
    metadata: Metadata = NO_METADATA


class RankEntry(NamedTuple):
    """One player's rank on a board of `total` players."""

    total: int
    row: RankedRow
    metadata: Metadata = NO_METADATA


class ListRanks(NamedTuple):
    """The ranks of the players of a list that are on a board of `total` players, in board order."""

    total: int
    rows: list[ListRank]
    metadata: Metadata = NO_METADATA


class Neighbourhood(NamedTuple):
    """One player's row and its neighbours in board order, without itself, on a board of `total` players."""

    total: int
    row: RankedRow
    around: list[RankedRow]
    metadata: Metadata = NO_METADATA


def first_page(parts: Sequence[PagePart], limit: int) -> Page:
    """Merge the first page of a range from its parts, each of at least `limit` rows if there are so many."""
    rows = merge(parts, limit)
    more = sum(part.start for part in parts) + len(rows) < sum(part.end for part in parts)
    return Page(sum(part.total for part in parts), rows, more, all_metadata(parts))
