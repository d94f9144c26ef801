"""Finds the ranking that a call names, and reads it anew when its board turns out to be defined otherwise by now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from leaderboard_core.boards import ALL, MAIN, Board, Definition, Place
from leaderboard_core.errors import InvalidPayload, LeaderboardError, Unavailable
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_service.boards.coalescing import RequestCoalescer
from leaderboard_service.regions import Regions

TRIES: Final = 3
"""How often a read is begun whose board is defined otherwise each time."""
_MAIN_SECONDS: Final = 1.0
"""How often the main board is asked for while no shard tells of it: reads are as old as that then."""

Answer = TypeVar("Answer")


class Redefined(Exception):
    """The board of a name is not, or not any more, what a read took it for."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


def check_definition(board: Board, found: str) -> None:
    """Raise Redefined when a shard has a later definition of a board than the one that a read goes by.

    An earlier one, or none, is what a shard has that was not told yet.
    """
    known = Definition(board)
    board_id, version, *_ = found.split(" ")
    if (int(board_id), version == "gone", version) == (board.id, False, str(board.version)):
        return  # and something more, that a later version has put behind it
    if Definition.parse(board.name, found, None).age > known.age:
        raise Redefined(board.name)


class KnownDefinitions(Protocol):
    """What this process knows of boards; leaderboard_service/definitions/known.py documents it."""

    def heard_of(self, name: str) -> Board | None: ...
    async def board(self, name: str) -> Board: ...
    async def look_again(self, name: str) -> Board: ...


class Places:
    """The rankings of boards by the names of their boards and regions."""

    def __init__(self, regions: Regions, known: KnownDefinitions) -> None:
        self._regions = regions
        self._known = known
        self._looking: RequestCoalescer[Board] = RequestCoalescer()
        self._main_again_at = 0.0
        self._main: asyncio.Task[None] | None = None

    async def of(self, board: str, region: str) -> Place:
        """Return the ranking of a region, or of GLOBAL; the board is as this process last heard of it.

        Raises UnknownRegion, BoardNotFound, InvalidPayload and Unavailable.
        """
        region = self._regions.resolve(region)
        return self._of(self._known.heard_of(board) or await self._known.board(board), region)

    def _of(self, found: Board, region: str) -> Place:
        if region != GLOBAL and not found.rules.regions:
            message = f"is {GLOBAL} only on the board {found.name}, which has no rankings of regions"
            raise InvalidPayload(fields=[{"field": "region", "message": message}])
        return Place(found, ALL, region)

    async def now(self, board: str, region: str) -> Place:
        """Return what `of` does, and ask what the board is now: for reads that go on for long. Raises as `of`."""
        if board != MAIN.name:
            await self.look_again(board)
        return await self.of(board, region)

    async def read(self, board: str, region: str, read: Callable[[Place], Awaitable[Answer]]) -> Answer:
        """Return what `read` makes of a ranking, from the beginning again when its board is defined otherwise by now.

        Raises as `of`, and what `read` raises.
        """
        region = self._regions.resolve(region)
        for _ in range(TRIES):
            try:
                return await read(self._of(self._known.heard_of(board) or await self._known.board(board), region))
            except Redefined:
                await self.look_again(board)
        raise Unavailable("The board is being defined anew; try again shortly.")

    async def read_main(self, read: Callable[[Board], Awaitable[Answer]]) -> Answer:
        """Return what `read` makes of the main board as it is known, or as it is by now. Raises what `read` raises."""
        return await self.read(MAIN.name, GLOBAL, lambda place: read(place.board))

    async def look_again(self, name: str) -> Board:
        """Return what the board of a name is now; those who ask at once share it. Raises BoardNotFound, Unavailable."""
        return await self._looking.read(name, lambda: self._known.look_again(name))

    async def confirm(self, place: Place) -> None:
        """Raise Redefined when a board is not what a read takes it for that no shard can tell of.

        Raises BoardNotFound and Unavailable. For the main board, which is always there, nobody has to wait: how its
        scores are shown is asked for meanwhile.
        """
        if not place.board.is_main:
            if await self.look_again(place.board.name) != place.board:
                raise Redefined(place.board.name)
            return
        now = asyncio.get_running_loop().time()
        if now >= self._main_again_at and (self._main is None or self._main.done()):
            self._main_again_at = now + _MAIN_SECONDS
            self._main = asyncio.create_task(self._look_at_main())

    async def _look_at_main(self) -> None:
        with contextlib.suppress(LeaderboardError):
            await self.look_again(MAIN.name)
