"""Defines what a stream shows at one moment, and computes what changed between two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from leaderboard_service.boards.ranking import RankedRow, percentile
from leaderboard_service.boards.rows import rows_as_json
from leaderboard_service.boards.source_header import Source


class Content(Protocol):
    """The state of one stream, compared by value."""

    def snapshot(self) -> dict[str, Any]:
        """Return the data of a `snapshot` event: everything."""

    def change_since(self, before: Any) -> dict[str, Any]:
        """Return the data of a `change` event for clients that have `before`, an earlier content of the stream."""


class Changes(NamedTuple):
    """The rows that are new or differ, as (position from 1, row), and the user_ids that were removed."""

    rows: list[tuple[int, RankedRow]]
    removed: list[str]


def changes(before: Sequence[RankedRow], after: Sequence[RankedRow]) -> Changes:
    """Compute the changes from the first rows of a board to those of a later moment.

    A client that has `before` drops `removed`, replaces rows by user_id, sorts by position, and has `after`.
    """
    had = {row.user_id: (position, row) for position, row in enumerate(before, 1)}
    rows = []
    for positioned in enumerate(after, 1):
        if had.pop(positioned[1].user_id, None) != positioned:
            rows.append(positioned)
    return Changes(rows, list(had))


@dataclass(frozen=True, slots=True)
class TopRows:
    """The first rows of a board."""

    region: str
    total: int
    source: Source
    rows: tuple[RankedRow, ...]

    def snapshot(self) -> dict[str, Any]:
        return {**self._head(), "rows": [_positioned(*item) for item in enumerate(self.rows, 1)]}

    def change_since(self, before: TopRows) -> dict[str, Any]:
        found = changes(before.rows, self.rows)
        return {**self._head(), "rows": [_positioned(*item) for item in found.rows], "removed": found.removed}

    def _head(self) -> dict[str, Any]:
        return {"region": self.region, "total": self.total, "source": self.source}


@dataclass(frozen=True, slots=True)
class PlayerRank:
    """One player's rank and its neighbours, little enough to be sent whole each time."""

    region: str
    total: int
    source: Source
    own: RankedRow
    around: tuple[RankedRow, ...] = ()

    def snapshot(self) -> dict[str, Any]:
        return {
            "region": self.region,
            "total": self.total,
            "source": self.source,
            "self": {**rows_as_json((self.own,))[0], "percentile": percentile(self.own.rank, self.total)},
            "around": rows_as_json(self.around),
        }

    def change_since(self, before: PlayerRank) -> dict[str, Any]:
        del before
        return self.snapshot()


def _positioned(position: int, row: RankedRow) -> dict[str, str | int]:
    return {"position": position, **rows_as_json((row,))[0]}
