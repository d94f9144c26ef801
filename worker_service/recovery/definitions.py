"""Have every Redis go by the definitions of boards that Postgres has: one before it is admitted, all from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import chain

import asyncpg

from leaderboard_core.backoff import wait_for_stop
from leaderboard_core.boards import MAIN, Board, Definition
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool
from leaderboard_core.postgres.definitions import (
    SavedDefinition,
    adopt,
    all_saved,
    living_saved,
    note_everywhere,
    overtake,
    pass_id,
)
from leaderboard_core.redis.definitions import (
    read_definitions,
    read_last_id,
    read_living,
    read_names,
    restore_definitions,
)
from leaderboard_core.redis.shard import Shard
from worker_service.recovery.restore import RebuildInterrupted

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often a worker looks for definitions that some Redis may lack."""
COMPARE_SECONDS = 30.0
"""How often it compares all of them: one may be lost in a way that nobody has seen."""


async def copy_definitions(shard: Shard, pool: Pool, others: Sequence[Shard]) -> None:
    """Bring a shard's definitions up to date before it is admitted.

    From Postgres; while that is away from another shard, which has every definition that was answered to whoever
    stated it. Raises RebuildInterrupted when neither can tell, and Unavailable.
    """
    await restore_definitions(shard, await _known(shard, pool, others))


async def known_boards(shard: Shard, pool: Pool, others: Sequence[Shard]) -> Mapping[int, Board]:
    """Read the boards that there are, by id, for a shard that is to get their entries. As `copy_definitions`."""
    elsewhere = [other for other in others if other is not shard]
    try:
        # Those that are gone stay named for good, and would be most of them one day.
        there = [saved.definition for saved in await living_saved(pool)]
        found = _latest(there, await known_to(elsewhere, {one.name for one in there}) or ())
    except (*CONNECTION_ERRORS, asyncpg.PostgresError):
        found = [*await _known(shard, pool, others)]
    boards = [definition.board for definition in found if not definition.gone]
    return {board.id: board for board in (MAIN, *boards)}


async def _known(shard: Shard, pool: Pool, others: Sequence[Shard]) -> Sequence[Definition]:
    elsewhere = [other for other in others if other is not shard]
    try:
        return _latest((saved.definition for saved in await all_saved(pool)), await known_to(elsewhere) or ())
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        found = await known_to(elsewhere)
        if found is None:
            raise RebuildInterrupted(f"the definitions of boards cannot be read: {describe(error)}") from error
        log.warning("definitions of boards come from another redis", extra={"shard": shard.name})
        return found


async def known_to(shards: Sequence[Shard], there: Set[str] | None = None) -> list[Definition] | None:
    """Read the latest definitions that open shards have; None when none of them is open.

    Of all names, or only of these and of those of which a shard knows that they are not gone.
    """
    latest: list[Definition] = []
    asked = False
    for shard in shards:
        try:
            if not await shard.is_ready():
                continue
            living = None if there is None else await read_living(shard)
            found = await read_definitions(shard, None if living is None else living | (there or set()))
        except Unavailable:
            continue
        asked = True
        latest = _latest(latest, found.values())
    return latest if asked else None


def _latest(*several: Iterable[Definition]) -> list[Definition]:
    """Return of each name the latest definition: a restore may have taken Postgres back behind what shards have."""
    latest: dict[str, Definition] = {}
    for definition in chain(*several):
        if definition.name not in latest or definition.age > latest[definition.name].age:
            latest[definition.name] = definition
    return [*latest.values()]


class Converger:
    """Tells every shard the definitions that it lacks, and notes when all have them."""

    def __init__(self, shards: Sequence[Shard], pool: Pool, stop: asyncio.Event) -> None:
        self._shards = shards
        self._pool = pool
        self._stop = stop

    async def run(self) -> None:
        """Work until the stop; at first, and from time to time, all definitions are compared."""
        loop = asyncio.get_running_loop()
        compared_at, told = loop.time() - COMPARE_SECONDS, ""
        while not self._stop.is_set():
            whole = loop.time() - compared_at >= COMPARE_SECONDS
            problem = await self._converge(whole=whole)
            if whole and not problem:
                compared_at = loop.time()
            if problem and problem != told:
                log.warning("definitions of boards are not everywhere: %s", problem)
            told = problem
            await wait_for_stop(self._stop, LOOK_SECONDS)

    async def _converge(self, *, whole: bool) -> str:
        """Tell all shards what they lack; return what was in the way, '' when nothing was."""
        try:
            wanted = list(await all_saved(self._pool, not_everywhere=not whole))
            if whole and all(saved.definition.name != MAIN.name for saved in wanted):
                wanted.append(SavedDefinition(Definition(MAIN), everywhere=True))
            definitions = {saved.definition.name: saved.definition for saved in wanted}
            noted = {saved.definition.name for saved in wanted if saved.everywhere}
            told, away = {}, []
            for shard in self._shards if definitions else ():
                try:
                    told[shard] = await _tell(shard, definitions)
                    if whole:
                        await self._adopt_unknown(shard, definitions)
                except Unavailable:
                    away.append(shard.name)
            for definition in definitions.values():
                to_note = not away and definition.name not in noted
                await self._settle(definition, [one[definition.name] for one in told.values()], to_note=to_note)
        except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
            return describe(error)
        return f"{', '.join(away)} cannot be told" if away else ""

    async def _adopt_unknown(self, shard: Shard, known: Mapping[str, Definition]) -> None:
        """Give Postgres the boards that it does not know, of a shard that is open: a restore of it alone lost them."""
        if (last_id := await read_last_id(shard)) and await pass_id(self._pool, last_id):
            log.warning("a redis was told of later boards than postgres", extra={"last_id": last_id})
        names = await read_names(shard) - known.keys()
        if names and await shard.is_ready():
            for definition in (await read_definitions(shard, names)).values():
                self._note(await adopt(self._pool, definition), definition)

    async def _settle(self, definition: Definition, there: Sequence[Definition], *, to_note: bool) -> None:
        """Note that one is everywhere; or have Postgres catch up where a restore has taken it back behind shards."""
        latest = max((definition, *there), key=lambda one: one.age)
        if latest.age > definition.age:
            self._note(await overtake(self._pool, definition, latest), definition)
        elif to_note:
            await note_everywhere(self._pool, definition)

    @staticmethod
    def _note(changed: SavedDefinition | None, definition: Definition) -> None:
        if changed is not None:
            log.warning("a redis had a later definition than postgres", extra={"board": definition.name})


async def _tell(shard: Shard, definitions: Mapping[str, Definition]) -> dict[str, Definition]:
    """Tell a shard what it lacks; return what it has then. Raises Unavailable.

    What is later than it was told comes with its rules, unless that has changed meanwhile.
    """
    there = await read_definitions(shard, definitions)
    last_id, living = await read_last_id(shard), await read_living(shard)
    lacking = [
        wanted
        for name, wanted in definitions.items()
        if (found := there.get(name)) is None
        or found.age < wanted.age
        or found.board.rules != wanted.board.rules
        or wanted.board.id > last_id
        or (name in living) == (wanted.gone or name == MAIN.name)
    ]
    for now in await restore_definitions(shard, lacking):
        if (before := there.get(now.name)) is None or before.age != now.age:
            there[now.name] = now
    return there
