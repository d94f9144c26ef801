"""Put definitions into GLOBAL's database, then onto every shard; read them from whichever can tell."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from leaderboard_core.boards import MAIN, Definition, Rules
from leaderboard_core.errors import NotEverywhere, Unavailable, WarmingUp
from leaderboard_core.postgres import definitions as saved
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from leaderboard_core.postgres.definitions import SavedDefinition
from leaderboard_core.redis.definitions import define, list_names, read_definition
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap

log = logging.getLogger(__name__)

_POSTGRES: Final = "Postgres, where boards are defined,"
_ROUNDS: Final = 3


class DefinitionStore:
    """The definitions of all boards. What Postgres has counts; a shard goes by the latest that it was told."""

    def __init__(self, shard_map: ShardMap, databases: RegionDatabases) -> None:
        self._map = shard_map
        self._databases = databases

    async def state_main(self, rules: Rules) -> Definition:
        """Save the main board's rules, and tell every shard. Raises Unavailable (perhaps saved) or NotEverywhere."""
        async with self._databases.answering(_POSTGRES):
            definition = (await saved.state_main(self._pool, rules)).definition
        return await self._tell(definition)

    async def remove(self, name: str) -> bool:
        """Note that a board is gone, and tell every shard; False when there is none. Raises as `state_main`."""
        async with self._databases.answering(_POSTGRES):
            definition = await saved.remove(self._pool, name)
        if definition is None:
            return False
        await self._tell(definition)
        return True

    async def read(self, name: str) -> SavedDefinition | None:
        """Read a board's definition from the shards that are open, else from Postgres; None for no such board.

        What was answered to whoever stated it is on each of them. Raises Unavailable.
        """
        answers = await asyncio.gather(*(self._ask(name, index) for index in range(len(self._map.shards))))
        known = [answer for answer in answers if not isinstance(answer, Unavailable | WarmingUp)]
        if not known:
            async with self._databases.answering(_POSTGRES):
                return _of_board(await saved.read_saved(self._pool, name))
        latest = max((one for one in known if one is not None), key=lambda one: one.age, default=None)
        if latest is None:
            return None
        everywhere = all(
            one is not None and not isinstance(one, Exception) and one.age == latest.age for one in answers
        )
        return _of_board(SavedDefinition(latest, everywhere))

    async def names(self) -> list[str]:
        """Name all boards in order, perhaps also some that are gone. Raises Unavailable."""
        for shard in self._map.shards:
            try:
                return sorted(await list_names(shard))
            except (Unavailable, WarmingUp):
                continue
        async with self._databases.answering(_POSTGRES):
            return sorted({MAIN.name, *(one.definition.name for one in await saved.all_saved(self._pool))})

    async def _ask(self, name: str, index: int) -> Definition | Unavailable | WarmingUp | None:
        try:
            return await read_definition(self._map.shards[index], name)
        except (Unavailable, WarmingUp) as problem:
            return problem

    async def _tell(self, definition: Definition) -> Definition:
        """Write a definition to every shard, and note that they have it. Raises NotEverywhere or Unavailable."""
        for _ in range(_ROUNDS):
            told = await asyncio.gather(
                *(define(shard, definition) for shard in self._map.shards), return_exceptions=True
            )
            latest = definition
            for one in told:
                if isinstance(one, Definition):
                    latest = max(latest, one, key=lambda other: other.age)
                elif not isinstance(one, Unavailable):
                    raise one
            if latest.age > definition.age:
                async with self._databases.answering(_POSTGRES):
                    overtaken = await saved.overtake(self._pool, latest)
                if overtaken is not None:
                    log.warning("a shard had a later definition than postgres", extra={"board": definition.name})
                    definition = overtaken.definition
                    continue
            if any(isinstance(one, Unavailable) for one in told):
                raise NotEverywhere(version=definition.board.version)
            async with self._databases.answering(_POSTGRES):
                await saved.note_everywhere(self._pool, definition)
            return definition
        raise NotEverywhere(version=definition.board.version)

    @property
    def _pool(self) -> Pool:
        return self._databases[GLOBAL]


def _of_board(found: SavedDefinition | None) -> SavedDefinition | None:
    return None if found is None or found.definition.gone else found
