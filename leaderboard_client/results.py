"""Define the results of calls as frozen values; fields that a newer system adds are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Player:
    """A player as the boards show it; `region` is the home region."""

    user_id: str
    name: str
    region: str
    score: int


@dataclass(frozen=True, slots=True)
class Registered:
    """A new player, the token that speaks for it, and without a password the secret to log in with, told this once."""

    token: str
    user: Player
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Entered:
    """A player that logged in or, `registered`, is new; `secret` as for a registration, else None."""

    token: str
    user: Player
    registered: bool
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """The token's player; `created` is False when it was there already and nothing changed."""

    created: bool
    card: Player


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a player stands in one ranking of `total`."""

    rank: int
    position: int
    total: int


@dataclass(frozen=True, slots=True)
class Written:
    """A score as it stands after a write; `updated_at` is µs since the epoch.

    `previous` is the score before, None when there was none or it is not known any more; `improved` says whether the
    new one is better. `ranks`, by region and GLOBAL, were asked for and could be read.
    """

    user_id: str
    region: str
    score: int
    updated_at: int
    board: str = "main"
    previous: int | None = None
    improved: bool | None = None
    ranks: Mapping[str, Standing] | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """One score of a batch for a board: `score`, to submit it, or `delta`, to add; else as for `Board.submit`."""

    user_id: str
    region: str
    score: int | None = None
    delta: int | None = None
    name: str | None = None
    board: str | None = None
    metadata: Mapping[str, Any] | None = None
    force: bool | None = None


@dataclass(frozen=True, slots=True)
class DefinedBoard:
    """A board and its rules; `version` counts their changes.

    `everywhere` is False while some Redis does not go by this version yet. `entries` counts the players of each region
    and of GLOBAL, where one board was asked for.
    """

    board: str
    version: int
    definition: Mapping[str, Any]
    everywhere: bool = True
    entries: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class BoardPage:
    """A page of boards by name; `next_cursor` is None at the end."""

    boards: tuple[DefinedBoard, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """One score of a batch that was not taken, with the error that the single call would have raised."""

    code: str
    message: str
    retry_after: float | None
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """The results of a batch, in its order; `ok` when every score was taken."""

    ok: bool
    accepted: int
    results: tuple[Written | Refusal, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a board; players of one score share a rank (1, 1, 3), and each has a `position` of its own, from 1.

    `score_text` is how a board with `decimals` shows the score. `metadata` belongs to it; it comes where it was asked
    for, and the board keeps some.
    """

    rank: int
    position: int
    user_id: str
    name: str
    region: str
    score: int
    score_text: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a board; `source` is "postgres" while Redis is unavailable; `next_cursor` is None at the end."""

    region: str
    total: int
    rows: tuple[Row, ...]
    next_cursor: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Rank:
    """A player's rank on a board of `total`; `percentile` is the share of the others who are not better."""

    region: str
    total: int
    rank: int
    position: int
    percentile: float
    user_id: str
    name: str
    score: int
    source: str
    score_text: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A requested player: `place` within the list, `rank` and `percentile` on the board, else as `Row`."""

    place: int
    rank: int
    position: int
    percentile: float
    user_id: str
    name: str
    region: str
    score: int
    score_text: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ranks:
    """The requested players in board order; `unknown` are those that are not on this board."""

    region: str
    total: int
    rows: tuple[ListedRow, ...]
    unknown: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Around:
    """A player (`own`) and the rows above and below it, in board order."""

    region: str
    total: int
    own: Row
    around: tuple[Row, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deleted player; `deleted_at` is µs since the epoch."""

    user_id: str
    deleted_at: int


@dataclass(frozen=True, slots=True)
class ExportedUser:
    """A player as Redis knows it; `protected` when the account has a password, `has_secret` when it has a secret."""

    user_id: str
    name: str
    region: str
    score: int
    updated_at: int
    protected: bool
    has_secret: bool = False
    submits: int = 0
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class BoardRank:
    """A rank on one board."""

    rank: int
    total: int
    percentile: float
    position: int | None = None


@dataclass(frozen=True, slots=True)
class EntryOnBoard:
    """What a player has on a board, and its `ranks` there by home region and GLOBAL; `updated_at` is in µs."""

    board: str
    score: int
    updated_at: int
    ranks: Mapping[str, BoardRank]
    score_text: str | None = None
    metadata: Mapping[str, Any] | None = None
    submits: int = 0


@dataclass(frozen=True, slots=True)
class EntryPage:
    """A page of a player's boards, `main` first, then by name; `next_cursor` is None at the end."""

    user_id: str
    name: str
    region: str
    entries: tuple[EntryOnBoard, ...]
    next_cursor: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Account:
    """The account of a player with a password; `created_at` is µs since the epoch."""

    created_at: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A player's row in Postgres; `updated_at` is µs since the epoch."""

    name: str
    region: str
    score: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Export:
    """All data kept of a player; `account` is None without a password, `saved` until its row is written.

    `ranks` are those on `main`, by home region and GLOBAL; `entries` what it has on other boards.
    """

    user: ExportedUser
    ranks: Mapping[str, BoardRank]
    account: Account | None
    saved: Saved | None
    entries: tuple[EntryOnBoard, ...] = ()
