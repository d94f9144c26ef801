"""Put definitions into GLOBAL's database, then onto every shard; read them from whichever can tell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from leaderboard_core.boards import MAIN, Definition, Rules
from leaderboard_core.errors import NotEverywhere, Unavailable, WarmingUp
from leaderboard_core.postgres import definitions as saved
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from leaderboard_core.postgres.definitions import SavedDefinition
from leaderboard_core.redis.definitions import define, list_names, read_definitions, read_known, read_last_id
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_service.boards.coalescing import RequestCoalescer
from leaderboard_service.definitions.lookups import POSTGRES, Lookups

log = logging.getLogger(__name__)

_ROUNDS: Final = 3


class Told(NamedTuple):
    """A definition that every shard has now, and whether the board was made by that."""

    definition: Definition
    made: bool


class DefinitionStore:
    """The definitions of all boards. What Postgres has counts; a shard goes by the latest that it was told."""

    def __init__(self, shard_map: ShardMap, databases: RegionDatabases) -> None:
        self._map = shard_map
        self._databases = databases
        self._lookups = Lookups(databases)
        self._listing: RequestCoalescer[list[str]] = RequestCoalescer()

    async def state(
        self, name: str, rules: Rules, at_most: int, compare: Callable[[Rules], None] = lambda _: None
    ) -> Told:
        """Save a board's rules, and tell every shard; the board is made if there is none.

        `compare` is told the rules of before, and may raise. Raises TooManyBoards, Unavailable (perhaps saved) or
        NotEverywhere.
        """
        made = False
        for _ in range(_ROUNDS):
            seen, last_id = await asyncio.gather(self._latest_of(name), self._last_id())
            async with self._databases.answering(POSTGRES):
                stated = await saved.state(
                    *(self._pool, name, rules), at_most=at_most, compare=compare, seen=seen, last_id=last_id
                )
            made = made or stated.made
            wanted = stated.saved.definition
            there = await self._tell(wanted)
            if there.board.id == wanted.board.id and not there.gone:
                return Told(there, made)
            made = False  # a shard had another board of that name, or knew that this one is gone
        raise NotEverywhere(version=wanted.board.version)

    async def remove(self, name: str) -> bool:
        """Note that a board is gone, and tell every shard; False when there is none. Raises as `state`."""
        for _ in range(_ROUNDS):
            seen = await self._latest_of(name)
            async with self._databases.answering(POSTGRES):
                gone = await saved.remove(self._pool, name, seen=seen)
            if gone is None:
                return False
            there = await self._tell(gone)
            if there.gone and there.board.id == gone.board.id:
                return True
        raise NotEverywhere(version=there.board.version)

    async def read(self, name: str) -> SavedDefinition | None:
        """Read a board's definition; None for no such board. Raises as `read_all`."""
        (found,) = await self.read_all([name])
        return found

    async def read_all(self, names: Sequence[str]) -> list[SavedDefinition | None]:
        """Read definitions from the shards that are open, else from Postgres; None where there is no such board.

        What was answered to whoever stated it is on each of them. Raises Unavailable.
        """
        answers = await self._ask(names)
        known = [answer for answer in answers if isinstance(answer, list)]
        if not known:
            return [_of_board(found) for found in await self._lookups.read(names)]
        found: list[SavedDefinition | None] = []
        for there in zip(*known, strict=True):
            latest = _latest(there)
            everywhere = len(known) == len(answers) and all(one and latest and one.age == latest.age for one in there)
            found.append(None if latest is None else _of_board(SavedDefinition(latest, everywhere)))
        return found

    async def names(self, after: str, most: int) -> list[str]:
        """Name boards in order that come after one, `most` or more, perhaps some that are gone. Raises Unavailable."""
        for shard in self._map.shards:
            try:
                return await list_names(shard, after, most)
            except (Unavailable, WarmingUp):
                continue
        return await self._listing.read((after, most), lambda: self._names_in_postgres(after, most))

    async def _names_in_postgres(self, after: str, most: int) -> list[str]:
        async with self._databases.answering(POSTGRES):
            names = await saved.names_after(self._pool, after, most)
        return sorted({*names, *([MAIN.name] if MAIN.name > after else [])})[:most]

    async def _latest_of(self, name: str) -> Definition | None:
        """Read what the shards that are open have of a name; None where they have nothing, or none is."""
        return _latest([answer[0] for answer in await self._ask([name]) if isinstance(answer, list)])

    async def _last_id(self) -> int:
        """Read the greatest id that any shard was told of; every board that was answered is on each of them.

        A shard that has been emptied or is away says nothing against the others.
        """
        found = await asyncio.gather(*map(read_last_id, self._map.shards), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, Unavailable):
                raise one
        return max(one if isinstance(one, int) else 0 for one in found)

    async def _ask(self, names: Sequence[str]) -> list[list[Definition | None] | Unavailable | WarmingUp]:
        return list(await asyncio.gather(*(self._ask_one(names, shard) for shard in self._map.shards)))

    @staticmethod
    async def _ask_one(names: Sequence[str], shard: Shard) -> list[Definition | None] | Unavailable | WarmingUp:
        try:
            return await read_known(shard, names)
        except (Unavailable, WarmingUp) as problem:
            return problem

    async def _tell(self, definition: Definition) -> Definition:
        """Write a definition to every shard, and note that they have it. Raises NotEverywhere or Unavailable."""
        for _ in range(_ROUNDS):
            told = await asyncio.gather(
                *(define(shard, definition) for shard in self._map.shards), return_exceptions=True
            )
            latest, at = definition, None
            for shard, one in zip(self._map.shards, told, strict=True):
                if isinstance(one, Definition):
                    latest, at = max((latest, at), (one, shard), key=lambda other: other[0].age)
                elif not isinstance(one, Unavailable):
                    raise one
            if at is not None and latest.age > definition.age:
                overtaken = await self._overtake(definition, latest, at)
                if overtaken is not None:
                    definition = overtaken
                    continue
            if any(isinstance(one, Unavailable) for one in told):
                raise NotEverywhere(version=definition.board.version)
            async with self._databases.answering(POSTGRES):
                await saved.note_everywhere(self._pool, definition)
            return definition
        raise NotEverywhere(version=definition.board.version)

    async def _overtake(self, definition: Definition, later: Definition, shard: Shard) -> Definition | None:
        """Have Postgres catch up with what a shard has; None when it has done so meanwhile. Raises Unavailable."""
        if later.board.id != definition.board.id:  # it will be needed whole
            later = (await read_definitions(shard, [later.name])).get(later.name, later)
        async with self._databases.answering(POSTGRES):
            overtaken = await saved.overtake(self._pool, definition, later)
        if overtaken is None:
            return None
        log.warning("a shard had a later definition than postgres", extra={"board": definition.name})
        return overtaken.definition

    @property
    def _pool(self) -> Pool:
        return self._databases[GLOBAL]


def _of_board(found: SavedDefinition | None) -> SavedDefinition | None:
    return None if found is None or found.definition.gone else found


def _latest(there: Iterable[Definition | None]) -> Definition | None:
    return max((one for one in there if one is not None), key=lambda one: one.age, default=None)
