"""States, reads and lists the definitions of boards."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from typing import NamedTuple

from leaderboard_core.boards import ALL, MAIN, Definition, Place, Rules
from leaderboard_core.errors import BoardNotFound, MainBoard, Unavailable
from leaderboard_core.postgres.definitions import SavedDefinition
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_core.settings import LimitSettings
from leaderboard_service.boards.places import TRIES, Redefined
from leaderboard_service.boards.service import BoardReads
from leaderboard_service.definitions.rules import check, check_main, compare, effective
from leaderboard_service.definitions.store import DefinitionStore, Told

PAGE = 100


class BoardOverview(NamedTuple):
    """A board's definition, and how many players each of its rankings has."""

    saved: SavedDefinition
    entries: dict[str, int]


class Definitions:
    """The definitions of boards, with the rules that variables decide in the place of what was stated."""

    def __init__(
        self, store: DefinitionStore, reads: BoardReads, regions: Collection[str], limits: LimitSettings
    ) -> None:
        self._store = store
        self._reads = reads
        self._regions = tuple(dict.fromkeys((*regions, GLOBAL)))
        self._limits = limits

    async def state(self, name: str, rules: Rules, given: Collection[str]) -> Told:
        """State all rules of a board, of which `given` were named; the same once more changes nothing.

        A board that there is not is made. Every write that comes after this returned goes by them. Raises FixedField,
        InvalidPayload or TooManyBoards; Unavailable when nothing was done, or NotEverywhere when a worker goes on.
        """
        if name == MAIN.name:
            check_main(rules, given, self._limits)
        else:
            check(rules)
        told = await self._store.state(name, rules, self._limits.boards_max, partial(_compare, rules))
        return told._replace(definition=self._heeded(told.definition))

    async def remove(self, name: str) -> None:
        """Take a board away for good. Raises MainBoard, BoardNotFound, Unavailable or NotEverywhere, as `state`.

        A worker takes its entries away.
        """
        if name == MAIN.name:
            raise MainBoard
        if not await self._store.remove(name):
            raise BoardNotFound

    async def overview(self, name: str) -> BoardOverview:
        """Read one board. Raises BoardNotFound and Unavailable."""
        for _ in range(TRIES):
            saved = await self._store.read(name)
            if saved is None:
                raise BoardNotFound
            board = saved.definition.board
            regions = self._regions if board.rules.regions else (GLOBAL,)
            try:
                pages = await asyncio.gather(*(self._reads.top(Place(board, ALL, region), 1, 0) for region in regions))
            except Redefined:
                continue  # it was changed meanwhile
            entries = {region: page.total for region, (page, _) in zip(regions, pages, strict=True)}
            return BoardOverview(self._shown(saved), entries)
        raise Unavailable("The board is being changed; try again.")

    async def page(self, after: str) -> tuple[list[SavedDefinition], str | None]:
        """Read the definitions whose names come after one, and the cursor of those behind them. Raises Unavailable."""
        found: list[SavedDefinition] = []
        while len(found) <= PAGE and (names := await self._store.names(after, PAGE + 1)):
            for first in range(0, len(names), PAGE + 1):
                read = await self._store.read_all(names[first : first + PAGE + 1])
                found += [self._shown(saved) for saved in read if saved is not None]
                if len(found) > PAGE:
                    break
            after = names[-1]
        return found[:PAGE], found[PAGE - 1].definition.name if len(found) > PAGE else None

    def _shown(self, saved: SavedDefinition) -> SavedDefinition:
        return saved._replace(definition=self._heeded(saved.definition))

    def _heeded(self, definition: Definition) -> Definition:
        board = definition.board
        if not board.is_main:
            return definition
        return definition.of_rules(effective(board.rules, self._limits))


def _compare(after: Rules, before: Rules) -> None:
    compare(before, after)
