"""Defines what a stream shows at one moment, and computes what changed between two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from leaderboard_core.boards import Place
from leaderboard_service.boards.ranking import NO_METADATA, Metadata, RankedRow, percentile
from leaderboard_service.boards.rows import rows_as_json
from leaderboard_service.boards.source_header import Source


class Content(Protocol):
    """The state of one stream, compared by value."""

    def snapshot(self) -> dict[str, Any]:
        """Return the data of a `snapshot` event: everything."""

    def change_since(self, before: Any) -> dict[str, Any]:
        """Return the data of a `change` event for clients that have `before`, an earlier content of the stream."""


class Changes(NamedTuple):
    """The rows that are new or differ, and the members that were removed."""

    rows: list[RankedRow]
    removed: list[str]


def changes(
    before: Sequence[RankedRow],
    after: Sequence[RankedRow],
    metadata_before: Metadata = NO_METADATA,
    metadata_after: Metadata = NO_METADATA,
) -> Changes:
    """Compute the changes from the first rows of a ranking, with their metadata, to those of a later moment.

    A client that has `before` drops `removed`, replaces rows by member, sorts by position, and has `after`.
    """
    had = {row.member: row for row in before}
    rows = [
        row
        for row in after
        if had.pop(row.member, None) != row or metadata_before.get(row.member) != metadata_after.get(row.member)
    ]
    return Changes(rows, list(had))


@dataclass(frozen=True, slots=True)
class TopRows:
    """The first rows of a ranking; their metadata is None where it is not shown."""

    place: Place
    total: int
    source: Source
    rows: tuple[RankedRow, ...]
    metadata: Metadata | None = None

    def snapshot(self) -> dict[str, Any]:
        return {**self._head(), "rows": rows_as_json(self.place.board, self.rows, self.metadata)}

    def change_since(self, before: TopRows) -> dict[str, Any]:
        board = self.place.board
        found = changes(before.rows, self.rows, before.metadata or NO_METADATA, self.metadata or NO_METADATA)
        # Defined anew a board may show the same row in another way.
        rows = found.rows if before.place == self.place else list(self.rows)
        # Where ties go to the earliest, each score has a member of its own.
        present = {board.user_id_of(row.member) for row in self.rows}
        removed = [user_id for user_id in map(board.user_id_of, found.removed) if user_id not in present]
        return {**self._head(), "rows": rows_as_json(board, rows, self.metadata), "removed": removed}

    def _head(self) -> dict[str, Any]:
        return {"board": self.place.board.name, "region": self.place.region, "total": self.total, "source": self.source}


@dataclass(frozen=True, slots=True)
class PlayerRank:
    """One player's rank and its neighbours, little enough to be sent whole each time; metadata as in TopRows."""

    place: Place
    total: int
    source: Source
    own: RankedRow
    around: tuple[RankedRow, ...] = ()
    metadata: Metadata | None = None

    def snapshot(self) -> dict[str, Any]:
        (own,) = rows_as_json(self.place.board, (self.own,), self.metadata)
        return {
            "board": self.place.board.name,
            "region": self.place.region,
            "total": self.total,
            "source": self.source,
            "self": {**own, "percentile": percentile(self.own.rank, self.total)},
            "around": rows_as_json(self.place.board, self.around, self.metadata),
        }

    def change_since(self, before: PlayerRank) -> dict[str, Any]:
        del before
        return self.snapshot()
