"""Reads pages of a player's entries from Postgres while Redis is away."""

from __future__ import annotations

import asyncio
from typing import Final

from leaderboard_core.boards import ALL, Board, Place
from leaderboard_core.errors import UserNotFound
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.definitions import SavedDefinition
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_service.boards.source import BoardSource
from leaderboard_service.players.standings import PAGE, Card, EntriesPage, PlayerEntry, Standing, entry_names, page_of

_AT_ONCE: Final = 4
"""How many boards of one page are ranked at once: others want connections too."""


class PostgresEntries:
    """Reads where a player stands on every board, a board at a time, as the reads of boards do."""

    def __init__(self, databases: RegionDatabases, boards: BoardSource) -> None:
        self._databases = databases
        self._boards = boards

    async def page(self, user_id: str, after: str | None, main: Board) -> EntriesPage:
        """Do what RedisEntries.page does. Raises UserNotFound and Unavailable."""
        card = await self._find(user_id)
        pool, boards = self._databases[card.region], {}
        async with self._databases.answering():
            ids = [board_id for (board_id,) in await pool.fetch(sql.load("boards_of_player"), user_id)]
            for row in await self._databases[GLOBAL].fetch(sql.load("boards_by_id"), ids):
                board = SavedDefinition.of_row(row).definition.board
                boards[Place(board, ALL, GLOBAL).entry_field] = board
            names = entry_names(boards, after)
            wanted = PAGE - (after is None)
            by_id = {name.board_id: boards[name.field] for name in names[:wanted]}
            rows = await pool.fetch(sql.load("entries_of_player"), user_id, list(by_id))
        entries = [
            PlayerEntry(
                by_id[row["board_id"]], row["key"], row["member"], row["micros"], row["submits"], row["metadata"], {}
            )
            for row in rows
        ]
        entries.sort(key=lambda entry: entry.board.name)
        if after is None:
            own = PlayerEntry(main, card.score, user_id, card.updated_at, card.submits, card.metadata, {})
            entries.insert(0, own)
        turn = asyncio.Semaphore(_AT_ONCE)

        async def stand(entry: PlayerEntry) -> PlayerEntry | None:
            async with turn:
                return await self._stand(card, entry)

        found = await asyncio.gather(*map(stand, entries))
        return page_of(card, [entry for entry in found if entry is not None], more=len(names) > wanted)

    async def _find(self, user_id: str) -> Card:
        async with self._databases.answering():
            for region in self._databases.regions:
                for row in await self._databases[region].fetch(sql.load("players_by_id"), [user_id]):
                    if row["region"] == region:
                        return Card(
                            user_id, row["name"], region, row["score"], row["micros"], row["submits"], row["metadata"]
                        )
        raise UserNotFound

    async def _stand(self, card: Card, entry: PlayerEntry) -> PlayerEntry | None:
        """Rank an entry; None when it is not in the snapshot that boards are read from."""
        regions = dict.fromkeys((card.region, GLOBAL)) if entry.board.rules.regions else (GLOBAL,)
        standings = {}
        for region in regions:
            try:
                found = await self._boards.rank(Place(entry.board, ALL, region), card.user_id)
            except UserNotFound:
                return None
            standings[region] = Standing(found.row.rank, found.row.position, found.total)
        return entry._replace(standings=standings)
