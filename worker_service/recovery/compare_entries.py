"""Compare a player's entries: the hash and the sets of a Redis with the rows of Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from leaderboard_core.boards import Board, Place
from leaderboard_core.entries import Entry, encode
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from worker_service.recovery.differences import STRAY
from worker_service.recovery.entries import entry_of

_TEXT_FIELDS = 6
"""How many words of a state's text stand before what may be absent."""


class EntryState(NamedTuple):
    """An entry in Redis: its text, and the keys that its member has on the sets of its region and of GLOBAL, or ''."""

    text: str
    on_region: str
    on_global: str


class Entries(NamedTuple):
    """A player's entries in Redis by field, and the region of the player's hash, '' when there is none."""

    region: str
    states: Mapping[str, EntryState]


class Member(NamedTuple):
    """What stands on a set and is not what the player's entry says."""

    field: str
    region: str
    member: str


@dataclass(frozen=True, slots=True)
class Boards:
    """The boards that there are, by id, and the ids of those whose entries are being taken away."""

    by_id: Mapping[int, Board]
    leaving: frozenset[int] = frozenset()

    def of_field(self, name: str) -> Board | None:
        """Return the board of an entry's field; None when it is gone."""
        board = self.by_id.get(_id_of(name))
        return board if board is not None and board.name == name.partition(".")[0] else None

    def leaves(self, name: str) -> bool:
        return _id_of(name) in self.leaving

    def field_of(self, row: Entry) -> str:
        return f"{row.board}.{row.board_id}:{row.window}"


def window_of(name: str) -> str:
    """Return the window of an entry's field."""
    return name.partition(":")[2]


def places_of(shard: Shard, board: Board, window: str, region: str) -> tuple[str, ...]:
    """Return the regions in whose sets on this shard an entry has to be."""
    names = {region, GLOBAL} if board.rules.regions else {GLOBAL}
    wanted = {shard.keys.place(Place(board, window, name)) for name in names}
    field = Place(board, window, region).entry_field
    return tuple(name for name in {region, GLOBAL} if shard.keys.entry_set(field, name) in wanted)


async def entries_on(shard: Shard, user_ids: Sequence[str]) -> list[Entries]:
    """Read the entries of players, in one step. Raises Unavailable."""
    if not user_ids:
        return []
    keys = shard.keys
    words = (keys.user(""), keys.entries(""), keys.entry_set("\1", "\2"), GLOBAL, *user_ids)
    found: list[list[str]] = await shard.run("inspect_entries", (), words)
    return [
        Entries(region, {flat[at]: EntryState(*flat[at + 1 : at + 4]) for at in range(0, len(flat), 4)})
        for region, *flat in found
    ]


async def records_by_id(pool: Pool, user_ids: Iterable[str]) -> dict[str, list[Any]]:
    """Read the rows of players, by user_id. Raises asyncpg's errors.

    Only boards that are read afterwards tell which of them are gone.
    """
    wanted = [user_id for user_id in user_ids if "\0" not in user_id]
    found: dict[str, list[Any]] = {}
    for record in await pool.fetch(sql.load("entries_by_id"), wanted):
        found.setdefault(record["user_id"], []).append(record)
    return found


def rows_among(records: Iterable[Any], region: str, boards: Boards) -> list[Entry]:
    """Return the rows of a region."""
    return [row_of(record, boards) for record in records if record["region"] == region]


def row_of(record: Any, boards: Boards) -> Entry:
    """Read a row of `page_entries`; that of a board that is gone has no board's name."""
    board = boards.by_id.get(record["board_id"])
    return entry_of(record, board.name if board else "")


def compare_entries(
    shard: Shard, region: str, user_id: str, boards: Boards, here: Entries, rows: Sequence[Entry], *, has_card: bool
) -> str | None:
    """Say what is wrong with a player's entries in a region, or None.

    `has_card` says that Postgres has the player there; what is wrong with the player itself is not said again.
    """
    if not shard.partition.holds(user_id):
        return f"entries: {STRAY}" if here.states else None
    if here.region != region:
        mine = here.states if not here.region else {}
        if has_card or not (rows or mine):
            return None
        return f"{_boards_of(rows, mine)}: an entry of {f'a player of {here.region}' if here.region else 'nobody'}"
    return "; ".join(_problems(shard, region, boards, here, rows)) or None


def _problems(shard: Shard, region: str, boards: Boards, here: Entries, rows: Sequence[Entry]) -> Iterator[str]:
    by_field = {boards.field_of(row): row for row in rows}
    for name in sorted(here.states.keys() | by_field.keys()):
        board, state, row = boards.of_field(name), here.states.get(name), by_field.get(name)
        if boards.leaves(name):
            continue
        if board is None:
            yield f"{title_of(name)}: is of a board that is gone, {_id_of(name)}"
            continue
        title = title_of(name)
        if state is None:
            yield f"{title}: is missing in Redis"
            continue
        if row is None:
            yield f"{title}: is missing in Postgres"
        elif not _same(state.text, encode(row)):
            yield f"{title}: {_shown(state.text)} in Redis, {_shown(encode(row))} in Postgres"
        key = state.text.split(" ", 1)[0]
        window = window_of(name)
        wanted = () if key == "-" else places_of(shard, board, window, region)
        # With one set for both, both scores are its.
        for place, score in {region: state.on_region, GLOBAL: state.on_global}.items():
            expected = key if place in wanted else ""
            if (int(float(score)) if score else None) != (int(expected) if expected else None):
                yield f"{title}: {expected or 'none'} by the hash, {score or 'none'} on the board of {place}"


def member_of(state: EntryState, user_id: str) -> str:
    """Return the member with which an entry is, or was, on sets."""
    tie = state.text.split(" ", 2)[1]
    return ("" if tie == "-" else tie) + user_id


def strays_among(shard: Shard, boards: Boards, user_id: str, here: Entries, members: Iterable[Member]) -> list[Member]:
    """Return those of the members seen on sets that a player's entries do not explain."""
    found = []
    for member in members:
        board, state = boards.of_field(member.field), here.states.get(member.field)
        if board is None:
            continue
        own = member_of(state, user_id) if state else ""
        window = window_of(member.field)
        places = places_of(shard, board, window, here.region) if here.region else ()
        if state is None or state.text.startswith("- ") or member.member != own or member.region not in places:
            found.append(member)
    return found


def _id_of(name: str) -> int:
    return int(name.partition(":")[0].rpartition(".")[2] or 0)


def title_of(name: str) -> str:
    """Name the board and window of an entry's field to people."""
    board, _, window = name.partition(":")
    return f"{board.rpartition('.')[0] or 'a board'} ({window})"


def _boards_of(rows: Sequence[Entry], states: Mapping[str, EntryState]) -> str:
    names = {title_of(name) for name in states} | {f"{row.board or 'a board'} ({row.window})" for row in rows}
    return ", ".join(sorted(names))


def _shown(text: str) -> str:
    """Leave out what tells a repeat of the write."""
    words = text.split(" ", _TEXT_FIELDS)
    more = [word for word in (words[_TEXT_FIELDS] if len(words) > _TEXT_FIELDS else "").split(" ", 1) if word]
    return " ".join([*words[:_TEXT_FIELDS], *(word for word in more if not word.startswith("@"))])


def _same(one: str, other: str) -> bool:
    """Whether two texts are the same state; metadata may be written in two ways."""
    if one == other:
        return True
    ours, theirs = one.partition("{"), other.partition("{")
    if ours[0] != theirs[0] or not (ours[1] and theirs[1]):
        return False
    try:
        return bool(orjson.loads(f"{{{ours[2]}") == orjson.loads(f"{{{theirs[2]}"))
    except orjson.JSONDecodeError:
        return False
