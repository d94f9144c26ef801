"""Import states page by page: into each region's Postgres as a worker saves events, then from its rows into Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

import asyncpg

from leaderboard_core.backoff import Backoff
from leaderboard_core.boards import ALL, Board, Place
from leaderboard_core.entries import Entry, decode, merge
from leaderboard_core.errors import Unavailable, WarmingUp, describe
from leaderboard_core.postgres import imports, sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool, RegionDatabases
from leaderboard_core.postgres.fencing import Fence, Fenced
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from worker_service.importing.players import Claimed, Known, all_of, claimed, find
from worker_service.importing.states import Before, Outcome, Problem, State, judge, rows_of
from worker_service.recovery.definitions import known_boards
from worker_service.recovery.entries import entry_of, restore_entries
from worker_service.recovery.restore import RebuildInterrupted, fetched, restore, restore_deletions
from worker_service.saving.batch import Batch
from worker_service.saving.dead_boards import DeadBoards
from worker_service.saving.upsert import PostgresUnavailable, save

PATIENCE_SECONDS = 60.0
BACKOFF = Backoff(first=0.1, most=2.0, jitter=0.5)
_PASSING = (
    Unavailable,
    WarmingUp,
    Fenced,
    Claimed,
    PostgresUnavailable,
    RebuildInterrupted,
    *CONNECTION_ERRORS,
    asyncpg.PostgresError,
)
"""What ends by itself: a Redis that is away or being filled, a Postgres that is away, somebody else at work."""

OnWait: TypeAlias = Callable[[str], None]
Result = TypeVar("Result")


class Interrupted(Exception):
    """It cannot go on; the text says why. What was taken before stays, and may come again."""


class Part(NamedTuple):
    """The players of a region on one Redis."""

    shard: Shard
    region: str

    @property
    def name(self) -> str:
        return self.shard.partition.name(self.region)


@dataclass(slots=True)
class Taken:
    """What became of lines, and why some were left out."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def add(self, other: Taken) -> None:
        self.outcomes += other.outcomes
        self.problems += other.problems


class Importer:
    """Takes states of players; the same ones again change nothing, and newer ones of this system stay.

    What it commits names the admission that the player's Redis had before it was asked, as a worker's batch does. A
    page is tried again for `patience` seconds, over anything that passes; `on_wait` is told of it.
    """

    def __init__(
        self,
        shard_map: ShardMap,
        databases: RegionDatabases,
        on_wait: OnWait = lambda _: None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._map = shard_map
        self._databases = databases
        self._dead_boards = DeadBoards(databases[GLOBAL])
        self._on_wait = on_wait
        self._patience = patience
        self._nonces: dict[Shard, str] = {}
        self._begun: set[Part] = set()

    async def boards(self) -> dict[str, Board]:
        """Read the boards that there are, by name. Raises Interrupted."""
        found = await self._patiently(
            partial(known_boards, self._map.shards[0], self._databases[GLOBAL], self._map.shards)
        )
        return {board.name: board for board in found.values()}

    async def now(self) -> int:
        """Read the earliest clock of all Redis (µs): what is later may be overtaken by no write. Raises Interrupted."""

        async def read() -> int:
            return min(await all_of(shard.now() for shard in self._map.shards))

        return await self._patiently(read)

    async def find(self, user_ids: Sequence[str]) -> dict[str, Known]:
        """Find players on whichever Redis they are, with the latest deletion of each. Raises Interrupted."""
        return await self._patiently(partial(self._find, user_ids))

    async def take(self, states: Sequence[State]) -> Taken:
        """Import a page. Raises Interrupted; then some of it may be committed."""
        done: dict[Part, Taken] = {}
        problems = await self._patiently(partial(self._take, states, done))
        taken = Taken(Counter[Outcome]({"left_out": len(problems)}), problems)
        for one in done.values():
            taken.add(one)
        return taken

    async def end(self) -> None:
        """Note that Redis has all that was taken. Raises Interrupted."""

        async def note() -> None:
            for part in self._begun:
                await imports.note_ended(self._databases[part.region], part.name, await part.shard.now())

        await self._patiently(note)

    async def _patiently(self, work: Callable[[], Awaitable[Result]]) -> Result:
        loop = asyncio.get_running_loop()
        deadline, attempt, why = loop.time() + self._patience, 0, ""
        while True:
            try:
                return await work()
            except _PASSING as error:
                why = _reason(error, why)
                if loop.time() > deadline:
                    raise Interrupted(why) from error
                self._nonces.clear()
                self._on_wait(why)
                await asyncio.sleep(BACKOFF.pause(attempt))
                attempt += 1

    async def _take(self, states: Sequence[State], done: dict[Part, Taken]) -> list[Problem]:
        for shard in self._map.shards:
            await self._nonce(shard)  # before anything is read that is committed under it
        user_ids = list({state.user_id: None for state in states})
        known = await self._find(user_ids)
        new = [user_id for user_id in user_ids if not known[user_id].region]
        if not new:
            return await self._take_parts(states, known, done, None)
        async with claimed(self._map, new) as until:
            return await self._take_parts(states, known | await self._find(new), done, until)

    async def _find(self, user_ids: Sequence[str]) -> dict[str, Known]:
        known = await find(self._map, user_ids)
        for pool in self._databases.distinct():  # a player may have been at home elsewhere, and Redis forgets it
            for row in await fetched(pool.fetch(sql.load("deletions_by_id"), user_ids)):
                player = known[row["user_id"]]
                known[row["user_id"]] = player._replace(deleted_at=max(player.deleted_at, row["micros"]))
        return known

    async def _take_parts(
        self, states: Sequence[State], known: dict[str, Known], done: dict[Part, Taken], until: float | None
    ) -> list[Problem]:
        by_home, problems = judge(states, known)
        parts: dict[Part, list[State]] = {}
        for home, own in by_home.items():
            for state in own:
                parts.setdefault(Part(self._map.shard_of(home, state.user_id), home), []).append(state)
        await all_of(self._take_part(part, own, known, done, until) for part, own in parts.items())
        return list(problems)

    async def _take_part(
        self, part: Part, states: Sequence[State], known: dict[str, Known], done: dict[Part, Taken], until: float | None
    ) -> None:
        (shard, region), pool = part, self._databases[part.region]
        user_ids = sorted({state.user_id for state in states})
        board_ids = sorted({state.board.id for state in states if not state.board.is_main})
        boards = await known_boards(shard, self._databases[GLOBAL], self._map.shards)
        if part not in done:
            before = await _before(part, pool, user_ids, [boards[one] for one in board_ids if one in boards])
            if until is not None and asyncio.get_running_loop().time() > until:
                raise Claimed("it took longer than user_ids can be held")
            await imports.note_begun(pool, part.name)
            self._begun.add(part)
            done[part] = await self._save(part, states, known, before)
        await restore(shard, region, await fetched(pool.fetch(sql.load("players_by_id"), user_ids)))
        entries = await _entries_on(pool, user_ids, board_ids)
        await restore_entries(shard, region, entries, boards)
        # Last, as after pages: what was deleted while they were read is in one of the two.
        await restore_deletions(shard, region, await fetched(pool.fetch(sql.load("deletions_by_id"), user_ids)))

    async def _save(self, part: Part, states: Sequence[State], known: dict[str, Known], before: Before) -> Taken:
        rows = rows_of(part.region, states, known, before)
        whole = Batch(events=rows.events, dead=(), superseded=0, raw_of={})
        batch = await self._dead_boards.without(whole, part.shard, part.region)
        taken = Taken(rows.outcomes)
        fence = Fence(part.name, await self._nonce(part.shard))
        refused = {event.user_id: reason for event, reason in await save(self._databases[part.region], batch, fence)}
        there = {entry.board_id for event in batch.events for entry in event.entries}
        for state in states:
            if reason := refused.get(state.user_id):
                taken.problems.append(Problem(state.line, f"Postgres refuses {state.user_id}: {reason}"))
            elif batch is not whole and not state.board.is_main and state.board.id not in there:
                taken.problems.append(Problem(state.line, f"board: {state.board.name} was deleted meanwhile"))
        taken.outcomes["left_out"] = len(taken.problems)
        return taken

    async def _nonce(self, shard: Shard) -> str:
        """Read the admission of a Redis, once until something is in the way. Raises Unavailable."""
        if shard not in self._nonces:
            state = await shard.look()
            if not state.is_open or state.admission is None:
                raise state.refusal
            self._nonces[shard] = state.admission.nonce
        return self._nonces[shard]


async def _before(part: Part, pool: Pool, user_ids: Sequence[str], boards: Sequence[Board]) -> Before:
    """Read what there is, of each entry what stands of Postgres' and Redis'. Raises RebuildInterrupted, Unavailable."""
    cards = await fetched(pool.fetch(sql.load("players_by_id"), user_ids))
    names = {board.id: board.name for board in boards}
    states = [entry_of(row, names[row["board_id"]]) for row in await _entries_on(pool, user_ids, list(names))]
    states += await _entries_in(part, user_ids, boards)
    entries: dict[tuple[str, int], Entry] = {}
    for state in states:
        at = (state.user_id, state.board_id)
        entries[at] = merge(entries[at], state) if at in entries else state
    return Before({row["user_id"]: row["micros"] for row in cards}, entries)


async def _entries_in(part: Part, user_ids: Sequence[str], boards: Sequence[Board]) -> list[Entry]:
    if not boards:
        return []
    fields = [Place(board, ALL, part.region).entry_field for board in boards]
    reads = [("HMGET", part.shard.keys.entries(user_id), *fields) for user_id in user_ids]
    answers: list[list[str | None]] = await part.shard.pipeline(reads)
    return [
        decode(text, user_id, board.id, board.name, ALL)
        for user_id, texts in zip(user_ids, answers, strict=True)
        for board, text in zip(boards, texts, strict=True)
        if text
    ]


async def _entries_on(pool: Pool, user_ids: Sequence[str], board_ids: Sequence[int]) -> Sequence[asyncpg.Record]:
    if not board_ids:
        return []
    return await fetched(pool.fetch(sql.load("entries_on_boards"), user_ids, board_ids))


def _reason(error: BaseException, before: str) -> str:
    match error:
        case Unavailable() if error.__cause__ is None and before:
            return before  # nobody has asked that Redis again
        case Fenced():
            return "a Redis is being filled anew"
        case Unavailable() if notes := getattr(error, "__notes__", ()):
            return str(notes[0])
        case Unavailable() | WarmingUp() | Claimed() | PostgresUnavailable() | RebuildInterrupted():
            return str(error)
    return describe(error)
