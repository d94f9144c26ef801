"""One player's entries in plain Python: the events that a writer makes, and where they have to end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import redis.asyncio as redis
from hypothesis import strategies as st

from leaderboard_core.boards import MAIN, Board, Rules
from leaderboard_core.entries import Entry, encode
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from tests.support.redis_dump import dump

START = 1_700_000_000_000_000
BOARDS = {
    board.id: board
    for board in (
        MAIN,
        Board("kills", 17, 1, Rules(operator="best", max_submits=100)),
        Board("laps", 18, 1, Rules(operator="best", order="asc", ties="earliest")),
        Board("coins", 19, 1, Rules(operator="sum", ties="earliest", max_submits=100, regions=False)),
    )
}
"""Boards by id."""

STATE = Entry("alice", 17, "kills", "all", 5, "alice", START, submits=3)
RULES = {
    "later": (STATE, replace(STATE, key=4, clock=START + 1), replace(STATE, key=4, clock=START + 1)),
    "submits": (STATE, replace(STATE, clock=START - 1, submits=4), replace(STATE, submits=4)),
    "better": (
        replace(STATE, best=True, metadata="{}"),
        replace(STATE, key=4, clock=START + 1, best=True, submits=4),
        replace(STATE, best=True, submits=4, metadata="{}"),
    ),
    "as good": (
        replace(STATE, best=True),
        replace(STATE, clock=START + 1, best=True, submits=4),
        replace(STATE, best=True, clock=START + 1, submits=4),
    ),
    "earlier": (
        replace(STATE, best=True, member="0000000000000002alice"),
        replace(STATE, best=True, member="0000000000000001alice", clock=START + 1),
        replace(STATE, best=True, member="0000000000000002alice"),
    ),
    "corrected": (
        replace(STATE, best=True, key=9),
        replace(STATE, best=True, key=1, clock=START + 1, base_at=START + 1),
        replace(STATE, best=True, key=1, clock=START + 1, base_at=START + 1),
    ),
    "removed": (
        replace(STATE, best=True, key=9),
        replace(STATE, best=True, key=0, member="", clock=START + 1, base_at=START + 1, removed=True),
        replace(STATE, best=True, key=0, member="", clock=START + 1, base_at=START + 1, removed=True),
    ),
    "not removed": (
        replace(STATE, clock=START + 1, base_at=START),
        replace(STATE, key=0, member="", clock=START + 2, base_at=START, removed=True),
        replace(STATE, clock=START + 1, base_at=START),
    ),
    "made anew": (
        replace(STATE, clock=START + 1),
        replace(STATE, key=0, member="", clock=START, base_at=START, removed=True),
        replace(STATE, clock=START + 1, base_at=START),
    ),
    "worse after a removal": (
        replace(STATE, key=-9, clock=START + 1, base_at=START, best=True),
        replace(STATE, key=0, member="", clock=START, base_at=START, best=True, removed=True),
        replace(STATE, key=-9, clock=START + 1, base_at=START, best=True),
    ),
}
"""Two states of an entry, and what they are together."""

Kind: TypeAlias = Literal["submit", "force", "remove", "delete", "main"]
Operation: TypeAlias = tuple[Kind, int, int]
"""What is done, the id of the board and the score."""

PLAN: list[Operation] = [
    *(("main", 0, 7), ("submit", 17, 5), ("submit", 18, 9), ("submit", 19, 2), ("submit", 17, 3)),
    *(("submit", 18, 4), ("force", 17, 1), ("submit", 19, 2)),
]
"""A player on every board."""

operations: st.SearchStrategy[list[Operation]] = st.lists(
    st.tuples(
        st.sampled_from(("submit",) * 6 + ("force", "remove", "delete", "main")),
        st.sampled_from([17, 17, 18, 19]),
        st.sampled_from([0, 1, 2, 2, 3, 2**53 - 1, -(2**53 - 1)]),
    ),
    min_size=1,
    max_size=14,
)


@dataclass
class Writer:
    """The only writer of a player, as the write scripts are: its state is what all its events have to end in.

    `deleted_at` is its last deletion: what it makes anew has that as its base.
    """

    user_id: str
    region: str = "EU"
    clock: int = START
    deleted_at: int = 0
    score: int | None = None
    updated_at: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    def do(self, operation: Operation) -> None:
        """Write, and make the event if anything changed."""
        kind, board_id, score = operation
        self.clock += 10
        if kind == "delete":
            self.deleted_at, self.score = self.clock, None
            self.entries.clear()
            self._event(deleted=True, keep=86_400)
        elif kind == "main" or self.score is None:
            self.score, self.updated_at = score, self.clock
            self._event(name=self.user_id, score=score)
        else:
            self._change(BOARDS[board_id], kind, score)

    def _change(self, board: Board, kind: str, score: int) -> None:
        before = self.entries.get(board.id)
        if kind == "remove":
            if before is None or before.removed:
                return
            after = replace(before, key=0, member="", clock=self.clock, base_at=self.clock, removed=True, metadata="")
            after = replace(after, last_key=f"{hash_of(self.clock)} print")
        else:
            after = self._submitted(board, before, score, force=kind == "force")
            if after == before:
                return
        self.entries[board.id] = after
        self._event(name=self.user_id, entries=[as_json(after)])

    def _submitted(self, board: Board, before: Entry | None, score: int, *, force: bool) -> Entry:
        counts = board.rules.max_submits > 0
        state = Entry(
            user_id=self.user_id,
            board_id=board.id,
            board=board.name,
            window="all",
            key=board.sign * score,
            member=board.member_of(self.user_id, self.clock),
            clock=self.clock,
            submits=(before.submits if before else 0) + counts,
            base_at=self.clock if force else before.base_at if before else self.deleted_at,
            best=board.rules.operator == "best",
            metadata=f'{{"at":{self.clock}}}' if score == 2 else "",
            last_key=f"{hash_of(self.clock)} print",
        )
        if before is None or before.removed or force:
            return state
        if state.key == before.key or (state.best and state.key < before.key):
            counted = replace(before, clock=self.clock, submits=state.submits, last_key=state.last_key)
            return counted if counts else before
        return state

    def _event(self, **fields: Any) -> None:
        if not fields.get("deleted"):
            fields["key"] = f"{hash_of(self.clock)} print 0 {self.clock}"
        event = {"user_id": self.user_id, "region": self.region, "request_id": "r", "timestamp": self.clock, **fields}
        self.events.append(json.dumps(event))


def hash_of(clock: int) -> str:
    """Return the hash of an Idempotency-Key of the write at that time."""
    return f"{clock:x}"


def as_json(state: Entry) -> dict[str, Any]:
    """Return an entry as it stands in an event; what may be absent is, where it can."""
    fields = {"board_id": state.board_id, "board": state.board, "window": state.window, "key": state.key}
    more = {"submits": state.submits, "base_at": state.base_at, "best": state.best, "removed": state.removed}
    found = {**fields, "member": state.member, **{name: value for name, value in more.items() if value}}
    return {**found, "metadata": json.loads(state.metadata)} if state.metadata else found


async def entry_rows(pool: Pool) -> dict[tuple[str, int], Entry]:
    """Return the rows of a database by user_id and board."""
    found = await pool.fetch(
        "SELECT user_id, board_id, board_window, region, key, member, submits, best, removed, metadata, last_key, "
        "(EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS clock, "
        "COALESCE(EXTRACT(EPOCH FROM base_at) * 1000000, 0)::bigint AS base_at FROM entries"
    )
    assert {row["region"] for row in found} <= {"EU"}
    return {
        (row["user_id"], row["board_id"]): Entry(
            user_id=row["user_id"],
            board_id=row["board_id"],
            board=BOARDS[row["board_id"]].name,
            window=row["board_window"],
            key=row["key"],
            member=row["member"],
            clock=row["clock"],
            submits=row["submits"],
            base_at=row["base_at"],
            best=row["best"],
            removed=row["removed"],
            metadata=row["metadata"],
            last_key=row["last_key"],
        )
        for row in found
    }


async def define(databases: RegionDatabases) -> None:
    """Have the boards defined."""
    for board in BOARDS.values():
        await databases["GLOBAL"].execute(
            "INSERT INTO boards (name, id, version, rules, everywhere_at) VALUES ($1, $2, $3, $4, NOW())",
            *(board.name, board.id, board.version, board.rules.encode()),
        )


async def put(client: redis.Redis, writer: Writer) -> None:
    """Write a player into Redis as its writer left it, on one Redis."""
    if writer.score is not None:
        card: Any = {"name": writer.user_id, "region": writer.region, "score": writer.score}
        card |= {"updated_at": writer.updated_at}
        card |= {"since": writer.deleted_at} if writer.deleted_at else {}
        card |= {"clock": writer.clock} if writer.clock > writer.updated_at else {}
        await client.hset(f"user:{writer.user_id}", mapping=card)
        for region in (writer.region, "GLOBAL"):
            await client.zadd(f"leaderboard:{region}", {writer.user_id: writer.score})
    for state in writer.entries.values():
        await client.hset(f"entries:{writer.user_id}", field_of(state), encode(state))
        for name in sets_of(state, writer.region):
            if not state.removed:
                await client.zadd(name, {state.member: state.key})


def field_of(state: Entry) -> str:
    return f"{state.board}.{state.board_id}:{state.window}"


def sets_of(state: Entry, region: str) -> list[str]:
    """Return the sets that an entry is in."""
    places = (region, "GLOBAL") if BOARDS[state.board_id].rules.regions else ("GLOBAL",)
    return [f"leaderboard:{field_of(state)}:{place}" for place in places]


async def entries_in(client: redis.Redis) -> dict[str, Any]:
    """Return all hashes of entries, and all sets of boards other than `main`."""
    content = await dump(client)
    return {
        key: value
        for key, (_, value, _) in content.items()
        if key.startswith("entries:") or (key.startswith("leaderboard:") and key.count(":") > 1)
    }


def entries_expected(*writers: Writer, without: tuple[int, ...] = ()) -> dict[str, Any]:
    """What `entries_in` has to be."""
    hashes: dict[str, dict[str, str]] = {}
    sets: dict[str, list[tuple[float, bytes, str]]] = {}
    for writer in writers:
        for state in writer.entries.values():
            if state.board_id in without:
                continue
            hashes.setdefault(f"entries:{writer.user_id}", {})[field_of(state)] = encode(state)
            for name in sets_of(state, writer.region) if not state.removed else ():
                sets.setdefault(name, []).append((float(state.key), state.member.encode(), state.member))
    return {**hashes, **{name: [(member, key) for key, _, member in sorted(rows)] for name, rows in sets.items()}}
