"""Take what is left of boards that are gone out of every Redis and Postgres, a little at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import chain

import asyncpg

from leaderboard_core.backoff import wait_for_stop
from leaderboard_core.boards import Board, Place
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres import dead_boards
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool, RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from worker_service.recovery.forgetting import forget_fields

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often a worker looks for boards to sweep."""
COMPARE_SECONDS = 300.0
"""How often it looks for rows that came after their board was swept: of a worker that could not know of it."""
CLAIM_SECONDS = 30.0
"""For how long a board is one worker's, and so the pause between two passes over it that got everywhere."""
ENTRIES_PER_CALL = 200
"""So few that Redis is held up by about a millisecond."""
ROWS_PER_STATEMENT = 2_000


class Interrupted(Exception):
    """A part of the system is away, or does not know yet that the board is gone; the text says which."""


class Sweeper:
    """Sweeps boards until a whole pass has found nothing, after all have heard that they are gone.

    It works half of the time, so that others come in between. Each step may be done again, by any worker.
    """

    def __init__(self, shard_map: ShardMap, databases: RegionDatabases, stop: asyncio.Event) -> None:
        self._map = shard_map
        self._databases = databases
        self._stop = stop
        self._kept_at = 0.0

    async def run(self) -> None:
        """Work until the stop."""
        loop = asyncio.get_running_loop()
        compared_at, told = loop.time() - COMPARE_SECONDS, ""
        while not self._stop.is_set():
            problem = ""
            try:
                if loop.time() - compared_at >= COMPARE_SECONDS:
                    await self.look_for_late_rows()
                    compared_at = loop.time()
                while not self._stop.is_set() and await self.sweep_one():
                    pass
            except (Interrupted, Unavailable) as error:
                problem = str(error)
            except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
                problem = describe(error)
            if problem and problem != told:
                log.warning("entries of boards that are gone wait: %s", problem)
            told = problem
            await wait_for_stop(self._stop, LOOK_SECONDS)

    async def look_for_late_rows(self) -> None:
        """Have the boards swept again of which there are rows after all. Raises asyncpg's errors."""
        found: set[int] = set()
        for pool in self._databases.distinct():
            found |= await dead_boards.boards_of_entries(pool)
        if again := await dead_boards.reopen(self._pool, found):
            log.info("entries of boards that are gone have come late", extra={"boards": again})

    async def sweep_one(self) -> bool:
        """Sweep the next board; False when there is none. Raises Interrupted, Unavailable and asyncpg's errors."""
        dead = await dead_boards.claim(self._pool, CLAIM_SECONDS)
        if dead is None:
            return False
        self._kept_at = time.monotonic()
        taken, away = 0, []
        for part in self._parts(dead.board):
            try:
                taken += await part()
            except (Interrupted, Unavailable, *CONNECTION_ERRORS, asyncpg.PostgresError) as error:
                away.append(str(error) if isinstance(error, Interrupted) else describe(error))
        if taken:
            log.info(
                "entries of a board that is gone were taken away", extra={"board": dead.board.name, "taken": taken}
            )
        if away:
            await dead_boards.keep(self._pool, dead.board, LOOK_SECONDS)
            raise Interrupted("; ".join(away))
        if dead.settled and not taken and not self._stop.is_set():
            await dead_boards.note_swept(self._pool, dead.board)
        return True

    def _parts(self, board: Board) -> list[Callable[[], Awaitable[int]]]:
        """Each Redis and each database: one that is away holds up no other."""
        pools = self._databases.distinct()
        return [
            *(partial(self._sweep_redis, shard, board) for shard in self._map.shards),
            *(partial(self._sweep_removed, pool, board) for pool in pools),
            *(partial(self._sweep_postgres, pool, board) for pool in pools),
        ]

    async def _sweep_redis(self, shard: Shard, board: Board) -> int:
        if not await shard.is_ready():
            raise Interrupted(f"{shard.name} is not ready")
        taken = 0
        for window in board.rules.windows:
            field = Place(board, window, GLOBAL).entry_field
            for region in dict.fromkeys((*shard.regions, GLOBAL)):
                name = shard.keys.entry_set(field, region)
                while not self._stop.is_set():
                    began = time.monotonic()
                    members: list[str] = await shard.command("ZRANGE", name, 0, ENTRIES_PER_CALL - 1)
                    if not members:
                        break
                    hashes = ((shard.keys.entries(one), shard.keys.user(one)) for one in map(board.user_id_of, members))
                    keys = (shard.keys.definition(board.name), name, *chain.from_iterable(hashes))
                    if await shard.run("sweep_entries", keys, (board.id, field, *members)) < 0:
                        raise Interrupted(f"{shard.name} was not told yet that {board.name} is gone")
                    taken += len(members)
                    await self._rest(board, began)
        return taken

    async def _sweep_removed(self, pool: Pool, board: Board) -> int:
        """Take the rows that removals have left, and before that the fields that they name: no set has these."""
        taken = 0
        while not self._stop.is_set():
            began = time.monotonic()
            rows = await dead_boards.removed_entries(pool, board, ENTRIES_PER_CALL)
            if not rows:
                break
            fields: dict[Shard, list[tuple[str, str]]] = {}
            for row in rows:
                shard = self._map.shard_of(row["region"], row["user_id"])
                field = Place(board, row["board_window"], GLOBAL).entry_field
                fields.setdefault(shard, []).append((row["user_id"], field))
            await asyncio.gather(*(forget_fields(shard, found) for shard, found in fields.items()))
            await dead_boards.delete_removed(pool, board, {row["user_id"] for row in rows})
            taken += len(rows)
            await self._rest(board, began)
        return taken

    async def _sweep_postgres(self, pool: Pool, board: Board) -> int:
        taken = 0
        while not self._stop.is_set():
            began = time.monotonic()
            deleted = await dead_boards.delete_entries(pool, board, ROWS_PER_STATEMENT)
            if not deleted:
                break
            taken += deleted
            await self._rest(board, began)
        return taken

    async def _rest(self, board: Board, began: float) -> None:
        now = time.monotonic()
        if now - self._kept_at > CLAIM_SECONDS / 3:
            await dead_boards.keep(self._pool, board, CLAIM_SECONDS)
            self._kept_at = now
        await wait_for_stop(self._stop, now - began)

    @property
    def _pool(self) -> Pool:
        return self._databases[GLOBAL]
