"""Define an entry, where a player stands in one window of a board, and which of two states of it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from leaderboard_core.boards import TIE_DIGITS

BOARD_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
WINDOW: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}(\.[0-9A-Z-]{1,32})?")
"""`all`, or a window's name and its id."""

_MEMBER_TIE: Final = re.compile(rf"[0-9]{{{TIE_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A state of an entry, as a write left it.

    `key` and `member` are its place in board order (0 and "" of one that was removed). `clock` is when it was written,
    `base_at` before when nothing counts any more (µs, 0 for never): a removal and a correction set that to their own
    clock, and later states keep it. `best` says that of two states the better counts, and not the later. `metadata`
    is JSON, "" for none. `last_key` tells a repeat of the write from another one: hash of its Idempotency-Key and
    fingerprint of its request, with a blank between them, "" when it had no key.
    """

    user_id: str
    board_id: int
    board: str
    window: str
    key: int
    member: str
    clock: int
    submits: int = 0
    base_at: int = 0
    best: bool = False
    removed: bool = False
    metadata: str = ""
    last_key: str = ""

    def order(self, base_at: int, *, best: bool) -> tuple[bool, bool, int, str, int]:
        """Return what is greater of the state that stands."""
        place = (self.key, self.member) if best else (0, "")
        return (self.clock >= base_at, not self.removed, *place, self.clock)


def merge(one: Entry, other: Entry) -> Entry:
    """Merge two states of one entry, of which either may be the older or come twice.

    The same rule stands in `upsert_entries` and in `includes/merge_entry.lua`. It gives the same for any number of
    states in any order, as long as none that is later than the `base_at` of another lacks that.
    """
    base_at, best = max(one.base_at, other.base_at), one.best and other.best
    standing = max((one, other), key=lambda state: state.order(base_at, best=best))
    return replace(standing, submits=max(one.submits, other.submits), base_at=base_at)


def merge_all(states: Iterable[Entry]) -> list[Entry]:
    """Merge states of one player's entries: each entry once, in order of board and window."""
    merged: dict[tuple[int, str], Entry] = {}
    for state in states:
        name = (state.board_id, state.window)
        merged[name] = merge(merged[name], state) if name in merged else state
    return [merged[name] for name in sorted(merged)]


def tie_of(member: str, user_id: str) -> str | None:
    """Return the digits before the user_id in a member, "" for none; None when it is no member of that player."""
    tie = member.removesuffix(user_id)
    fits = member.endswith(user_id) and (not tie or _MEMBER_TIE.fullmatch(tie))
    return tie if fits else None


def encode(entry: Entry) -> str:
    """Write an entry as the hash of a player's entries has it (`includes/merge_entry.lua`)."""
    key, tie = ("-", "") if entry.removed else (str(entry.key), tie_of(entry.member, entry.user_id))
    fields = (key, tie or "-", entry.clock, entry.submits, entry.base_at, int(entry.best))
    key_of_write = [f"@{entry.last_key.replace(' ', ':')}"] if entry.last_key else []
    return " ".join([*map(str, fields), *key_of_write, *([entry.metadata] if entry.metadata else [])])


def decode(text: str, user_id: str, board_id: int, board: str, window: str) -> Entry:
    """Read what `encode` has written, of a player's entry in a window of a board."""
    head, brace, metadata = text.partition("{")
    key, tie, clock, submits, base_at, best, *more = head.split()
    removed = key == "-"
    return Entry(
        user_id=user_id,
        board_id=board_id,
        board=board,
        window=window,
        key=0 if removed else int(key),
        member="" if removed else f"{'' if tie == '-' else tie}{user_id}",
        clock=int(clock),
        submits=int(submits),
        base_at=int(base_at),
        best=best == "1",
        removed=removed,
        metadata=brace + metadata,
        last_key=more[0].removeprefix("@").replace(":", " ") if more else "",
    )
