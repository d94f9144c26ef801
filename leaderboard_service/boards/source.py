"""Declares what a store answers that boards are read from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from leaderboard_core.boards import Place
from leaderboard_service.boards.ranges import BoardRange
from leaderboard_service.boards.results import ListRanks, Neighbourhood, Page, RankEntry


class BoardSource(Protocol):
    """A store that boards are read from; RedisBoards documents the reads and what they raise."""

    async def top(self, place: Place, limit: int, offset: int, *, metadata: bool = False) -> Page: ...
    async def page(self, place: Place, board_range: BoardRange, limit: int, *, metadata: bool = False) -> Page: ...
    async def rank(self, place: Place, user_id: str, *, metadata: bool = False) -> RankEntry: ...
    async def ranks(self, place: Place, user_ids: Sequence[str], *, metadata: bool = False) -> ListRanks: ...
    async def around(self, place: Place, user_id: str, reach: int, *, metadata: bool = False) -> Neighbourhood: ...
