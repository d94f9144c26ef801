"""Chooses where a read comes from: Redis, or Postgres while Redis is unavailable or does not hold its data."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from leaderboard_core.boards import Board, Place
from leaderboard_core.errors import Unavailable, UserNotFound, WarmingUp
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_core.telemetry.board_counters import BoardCounters
from leaderboard_service.boards.places import TRIES, Places, Redefined
from leaderboard_service.boards.ranges import BoardRange
from leaderboard_service.boards.results import ListRanks, Neighbourhood, Page, RankEntry
from leaderboard_service.boards.source import BoardSource
from leaderboard_service.boards.source_header import Source
from leaderboard_service.boards.total_order import ByPosition

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class BoardReads:
    """Reads from Redis first; an answer always comes whole from one source, never from both.

    What no shard answers is confirmed: `places` says whether the board is defined as the read takes it to be.
    """

    def __init__(self, redis: BoardSource, postgres: BoardSource, places: Places, counters: BoardCounters) -> None:
        self._redis, self._redis_by_position = redis, ByPosition(redis)
        self._postgres, self._postgres_by_position = postgres, ByPosition(postgres)
        self._places = places
        self._counters = counters
        self._degraded: set[str] = set()

    def top(self, place: Place, limit: int, offset: int, *, metadata: bool = False) -> Awaitable[tuple[Page, Source]]:
        return self._read(
            place,
            self._of_redis(place).top(place, limit, offset, metadata=metadata),
            lambda: self._of_postgres(place).top(place, limit, offset, metadata=metadata),
        )

    def page(
        self, place: Place, board_range: BoardRange, limit: int, *, metadata: bool = False
    ) -> Awaitable[tuple[Page, Source]]:
        return self._read(
            place,
            self._of_redis(place).page(place, board_range, limit, metadata=metadata),
            lambda: self._of_postgres(place).page(place, board_range, limit, metadata=metadata),
        )

    def ranks(
        self, place: Place, user_ids: Sequence[str], *, metadata: bool = False
    ) -> Awaitable[tuple[ListRanks, Source]]:
        return self._read(
            place,
            self._of_redis(place).ranks(place, user_ids, metadata=metadata),
            lambda: self._of_postgres(place).ranks(place, user_ids, metadata=metadata),
        )

    def rank(self, place: Place, user_id: str, *, metadata: bool = False) -> Awaitable[tuple[RankEntry, Source]]:
        return self._read(
            place,
            self._of_redis(place).rank(place, user_id, metadata=metadata),
            lambda: self._of_postgres(place).rank(place, user_id, metadata=metadata),
        )

    async def standings(
        self, places: Sequence[Place], user_id: str, *, from_postgres: bool = False
    ) -> tuple[dict[str, RankEntry], Source]:
        """Read a player's ranks in several rankings of a board, by their names, all of them from one source.

        Raises Unavailable too when the board is deleted meanwhile, and its places are none any more.
        """
        board, home = places[0].board, places[0]
        for _ in range(TRIES):

            async def read(source: BoardSource, board: Board = board) -> dict[str, RankEntry]:
                return {place.name: await source.rank(place._replace(board=board), user_id) for place in places}

            everywhere = Place(board, home.window, GLOBAL)  # degraded whenever one of the others is
            redis, postgres = self._of_redis(everywhere), self._of_postgres(everywhere)
            try:
                if from_postgres:
                    return await self._read_postgres(everywhere, partial(read, postgres))
                return await self._read(everywhere, read(redis), partial(read, postgres))
            except Redefined:
                board = await self._places.look_again(board.name)
                if board.id != home.board.id:
                    break
        raise Unavailable

    def around(
        self, place: Place, user_id: str, reach: int, *, metadata: bool = False
    ) -> Awaitable[tuple[Neighbourhood, Source]]:
        return self._read(
            place,
            self._of_redis(place).around(place, user_id, reach, metadata=metadata),
            lambda: self._of_postgres(place).around(place, user_id, reach, metadata=metadata),
        )

    def _of_redis(self, place: Place) -> BoardSource:
        return self._redis_by_position if place.board.tie_digits else self._redis

    def _of_postgres(self, place: Place) -> BoardSource:
        return self._postgres_by_position if place.board.tie_digits else self._postgres

    async def _read(
        self, place: Place, from_redis: Awaitable[Answer], from_postgres: Callable[[], Awaitable[Answer]]
    ) -> tuple[Answer, Source]:
        region = place.region
        try:
            answer = await from_redis
        except (WarmingUp, Unavailable) as problem:
            if region not in self._degraded:
                self._degraded.add(region)
                log.warning("reads come from postgres: %s", problem.message, extra={"region": region})
            return await self._read_postgres(place, from_postgres)
        if region in self._degraded:
            self._degraded.remove(region)
            log.info("reads come from redis again", extra={"region": region})
        self._counters.count_read(place.board.name, "redis")
        return answer, "redis"

    async def _read_postgres(
        self, place: Place, from_postgres: Callable[[], Awaitable[Answer]]
    ) -> tuple[Answer, Source]:
        await self._places.confirm(place)
        try:
            answer = await from_postgres()
        except UserNotFound as error:
            error.source = "postgres"
            raise
        self._counters.count_read(place.board.name, "postgres")
        return answer, "postgres"
