"""Defines what is answered of a player's entries, from whichever store: pages in order of the boards' names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from leaderboard_core.boards import ALL, MAIN, Board
from leaderboard_core.entries import BOARD_NAME
from leaderboard_service.boards.ranking import percentile
from leaderboard_service.boards.rows import more_of

PAGE: Final = 100

_FIELD: Final = re.compile(rf"({BOARD_NAME.pattern})\.(\d+):{ALL}")


class Card(NamedTuple):
    """A player: `updated_at` is when its score on the main board was written (µs), `metadata` what came with that.

    `submits` counts the scores that were taken there while the board limited them.
    """

    user_id: str
    name: str
    region: str
    score: int
    updated_at: int
    submits: int
    metadata: str


class Standing(NamedTuple):
    """Where a player stands in one ranking of `total` players."""

    rank: int
    position: int
    total: int


class PlayerEntry(NamedTuple):
    """A player's entry on a board, when it was written (µs), and where it stands, by region and on GLOBAL.

    `submits` counts the scores that were taken while the board limited them.
    """

    board: Board
    key: int
    member: str
    updated_at: int
    submits: int
    metadata: str
    standings: dict[str, Standing]

    @property
    def ranked(self) -> dict[str, Standing]:
        """The standings with the ranks that the board has: positions where no two are equal."""
        if not self.board.tie_digits:
            return self.standings
        return {region: one._replace(rank=one.position) for region, one in self.standings.items()}


class EntriesPage(NamedTuple):
    """A player and some of its entries; `next_cursor` names the board behind which it goes on."""

    card: Card
    entries: list[PlayerEntry]
    next_cursor: str | None


class EntryName(NamedTuple):
    """What an entry is called in the hash of a player's entries, in the order in which they are answered."""

    board: str
    board_id: int
    field: str


def entry_names(fields: Iterable[str], after: str | None) -> list[EntryName]:
    """Read the names of a player's entries behind a board, in order; what is of no board of this version is left out.

    The main board comes before all, and is not among them.
    """
    matches = ((field, _FIELD.fullmatch(field)) for field in fields)
    names = [EntryName(match[1], int(match[2]), field) for field, match in matches if match]
    behind = "" if after in (None, MAIN.name) else after or ""
    return sorted(name for name in names if name.board != MAIN.name and name.board > behind)


def page_of(card: Card, entries: list[PlayerEntry], *, more: bool) -> EntriesPage:
    return EntriesPage(card, entries, entries[-1].board.name if more and entries else None)


def entry_as_json(entry: PlayerEntry) -> dict[str, Any]:
    """Return an entry as the API shows it."""
    board = entry.board
    metadata = {entry.member: entry.metadata} if entry.metadata else {}
    return {
        "board": board.name,
        "score": board.sign * entry.key,
        **more_of(board, entry.key, entry.member, metadata if board.rules.metadata_bytes else None),
        "updated_at": entry.updated_at,
        "submits": entry.submits,
        "ranks": {
            region: {**standing._asdict(), "percentile": percentile(standing.rank, standing.total)}
            for region, standing in entry.ranked.items()
        },
    }
