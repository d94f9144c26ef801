"""Says where a player stands on every board, from Redis, or from Postgres while that is away."""

from __future__ import annotations

from typing import Protocol

from leaderboard_core.boards import MAIN, Board
from leaderboard_core.errors import Unavailable, UserNotFound, WarmingUp
from leaderboard_service.boards.places import Places
from leaderboard_service.boards.source_header import Source
from leaderboard_service.players.standings import EntriesPage, PlayerEntry


class EntrySource(Protocol):
    """A store that pages of entries are read from; RedisEntries documents the read."""

    async def page(self, user_id: str, after: str | None, main: Board) -> EntriesPage: ...


class PlayerEntries:
    """Reads from Redis first; a page comes whole from one source."""

    def __init__(self, redis: EntrySource, postgres: EntrySource, places: Places) -> None:
        self._redis = redis
        self._postgres = postgres
        self._places = places

    async def page(self, user_id: str, after: str | None, *, from_postgres: bool = False) -> tuple[EntriesPage, Source]:
        """Read the page of entries behind a board of that name. Raises UserNotFound and Unavailable."""
        if not from_postgres:
            try:
                page = await self._places.read_main(lambda main: self._redis.page(user_id, after, main))
            except (WarmingUp, Unavailable):
                pass
            else:
                return page, "redis"
        try:
            return await self._places.read_main(lambda main: self._postgres.page(user_id, after, main)), "postgres"
        except UserNotFound as error:
            error.source = "postgres"
            raise

    async def all(self, user_id: str, *, from_postgres: bool) -> tuple[list[PlayerEntry], Source]:
        """Read all entries on boards other than the main one. Raises as `page`."""
        source: Source = "postgres" if from_postgres else "redis"
        entries: list[PlayerEntry] = []
        after: str | None = MAIN.name
        while after is not None:
            page, source = await self.page(user_id, after, from_postgres=from_postgres)
            entries += page.entries
            after = page.next_cursor
            if source == "postgres" and not from_postgres:
                return await self.all(user_id, from_postgres=True)
        return entries, source
