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
from leaderboard_core.boards import Board
from leaderboard_core.entries import Entry
from leaderboard_core.errors import Unavailable, WarmingUp, describe
from leaderboard_core.events import ScoreEvent
from leaderboard_core.postgres import imports, sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool, RegionDatabases
from leaderboard_core.postgres.fencing import Fence, Fenced
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from worker_service.importing.before import cards_of, entries_of, read_before
from worker_service.importing.players import Claimed, Known, all_of, claimed, find
from worker_service.importing.states import Outcome, Problem, State, judge, rows_of
from worker_service.recovery.definitions import known_boards
from worker_service.recovery.entries import Boards, restore_entries
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


class _Saved(NamedTuple):
    """What was done with the lines of a part, and the events that it made."""

    taken: Taken
    events: Sequence[ScoreEvent]

    @property
    def user_ids(self) -> list[str]:
        return [event.user_id for event in self.events]

    @property
    def cards(self) -> list[str]:
        return [event.user_id for event in self.events if event.score is not None]

    @property
    def entries(self) -> dict[tuple[str, int], Entry]:
        return {(entry.user_id, entry.board_id): entry for event in self.events for entry in event.entries}


class _Attempt(NamedTuple):
    """What one attempt at a page goes by: who is there, what is saved, and the admissions from before both were read.

    `until` is how long (loop time) the user_ids of new players are held.
    """

    known: dict[str, Known]
    done: dict[Part, _Saved]
    nonces: dict[Shard, str]
    until: float | None = None


class Importer:
    """Takes states of players; the same ones again change nothing, and newer ones of this system stay.

    What it commits names the admission that the player's Redis had before it was asked, as a worker's batch does. A
    page is tried again for `patience` seconds, over anything that passes; `on_wait` is told of it. Several pages may be
    taken at once, of different players.
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
        self._touched: set[Part] = set()

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
        done: dict[Part, _Saved] = {}
        problems = await self._patiently(partial(self._take, states, done))
        taken = Taken(Counter[Outcome]({"left_out": len(problems)}), problems)
        for one in done.values():
            taken.add(one.taken)
        return taken

    async def end(self) -> None:
        """Note that Redis has all that was taken. Raises Interrupted."""

        async def note() -> None:
            for part in self._touched:
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

    async def _take(self, states: Sequence[State], done: dict[Part, _Saved]) -> list[Problem]:
        # From before anything is read that is committed under them; another page may go on by later ones.
        nonces = {shard: await self._nonce(shard) for shard in self._map.shards}
        user_ids = list({state.user_id: None for state in states})
        known = await find(self._map, user_ids)
        new = [user_id for user_id in user_ids if not known[user_id].region]
        if not new:
            return await self._take_parts(states, _Attempt(await self._with_deletions(known), done, nonces))
        async with claimed(self._map, new) as until:
            known |= await find(self._map, new)
            return await self._take_parts(states, _Attempt(await self._with_deletions(known), done, nonces, until))

    async def _find(self, user_ids: Sequence[str]) -> dict[str, Known]:
        return await self._with_deletions(await find(self._map, user_ids))

    async def _with_deletions(self, known: dict[str, Known]) -> dict[str, Known]:
        """Add what databases know of deletions: a player may have been at home elsewhere, and Redis forgets it."""
        for rows in await all_of(_deletions_of(pool, list(known)) for pool in self._databases.distinct()):
            for row in rows:
                player = known[row["user_id"]]
                known[row["user_id"]] = player._replace(deleted_at=max(player.deleted_at, row["micros"]))
        return known

    async def _take_parts(self, states: Sequence[State], attempt: _Attempt) -> list[Problem]:
        by_home, problems = judge(states, attempt.known)
        parts: dict[Part, list[State]] = {}
        for home, own in by_home.items():
            for state in own:
                parts.setdefault(Part(self._map.shard_of(home, state.user_id), home), []).append(state)
        await all_of(self._take_part(part, own, attempt) for part, own in parts.items())
        return list(problems)

    async def _take_part(self, part: Part, states: Sequence[State], attempt: _Attempt) -> None:
        (shard, region), pool = part, self._databases[part.region]
        boards = await known_boards(shard, self._databases[GLOBAL], self._map.shards)
        if part not in attempt.done:
            attempt.done[part] = await self._save(part, states, boards, attempt)
        # Some of those who were saved by an attempt before may have been made elsewhere since.
        saved, here = attempt.done[part], {state.user_id for state in states}
        await restore(shard, region, await cards_of(pool, [user_id for user_id in saved.cards if user_id in here]))
        entries = {at: entry for at, entry in saved.entries.items() if at[0] in here}
        await restore_entries(shard, region, await entries_of(pool, entries), boards)
        # Last, as after pages: what was deleted while they were read is in one of the two.
        await restore_deletions(shard, region, await _deletions_of(pool, saved.user_ids))

    async def _save(self, part: Part, states: Sequence[State], boards: Boards, attempt: _Attempt) -> _Saved:
        (shard, region), pool = part, self._databases[part.region]
        before = await read_before(shard, region, pool, states, attempt.known, boards)
        gone = await self._dead_boards.among({state.board.id for state in states})
        problems = [
            Problem(state.line, f"board: {state.board.name} was deleted meanwhile")
            for state in states
            if state.board.id in gone
        ]
        rows = rows_of(region, [state for state in states if state.board.id not in gone], attempt.known, before)
        refused: dict[str, str] = {}
        self._touched.add(part)
        if rows.events:
            if attempt.until is not None and asyncio.get_running_loop().time() > attempt.until:
                raise Claimed("it took longer than user_ids can be held")
            await imports.note_begun(pool, part.name)
            batch = Batch(events=rows.events, dead=(), superseded=0, raw_of={})
            fence = Fence(part.name, attempt.nonces[shard])
            refused = {event.user_id: reason for event, reason in await save(pool, batch, fence)}
        problems += (
            Problem(state.line, f"Postgres refuses {state.user_id}: {refused[state.user_id]}")
            for state in states
            if state.user_id in refused and state.board.id not in gone
        )
        outcomes = Counter(outcome for user_id, outcome in rows.outcomes if user_id not in refused)
        outcomes["left_out"] = len(problems)
        return _Saved(Taken(outcomes, problems), rows.events)

    async def _nonce(self, shard: Shard) -> str:
        """Read the admission of a Redis, once until something is in the way. Raises Unavailable."""
        if shard not in self._nonces:
            state = await shard.look()
            if not state.is_open or state.admission is None:
                raise state.refusal
            self._nonces[shard] = state.admission.nonce
        return self._nonces[shard]


async def _deletions_of(pool: Pool, user_ids: Sequence[str]) -> Sequence[asyncpg.Record]:
    return await fetched(pool.fetch(sql.load("deletions_among"), "\n".join(user_ids))) if user_ids else []


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
