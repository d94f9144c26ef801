"""Look definitions up in Postgres while no Redis tells of them: one statement at a time, for all who ask meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from typing import Final

from leaderboard_core.errors import LeaderboardError, Unavailable
from leaderboard_core.postgres import definitions as saved
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.definitions import SavedDefinition
from leaderboard_core.redis.shard_map import GLOBAL

POSTGRES: Final = "Postgres, where boards are defined,"
NAMES_PER_STATEMENT: Final = 500
NAMES_WAITING: Final = 5_000
"""How many different names may wait: 503 for more, before Postgres would be asked for answers that nobody awaits."""
WAIT_SECONDS: Final = 1.0
"""How long a name waits until it is asked for."""
BUSY: Final = "Redis is away, and Postgres is asked for as many boards as it can look up; try again shortly."


class Lookups:
    """Definitions by name. The statement that answers begins after the question came, so that none is stale."""

    def __init__(self, databases: RegionDatabases) -> None:
        self._databases = databases
        self._waiting: dict[str, asyncio.Future[SavedDefinition | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def read(self, names: Sequence[str]) -> list[SavedDefinition | None]:
        """Read definitions in the order of these names; None where there is none.

        Raises Unavailable, early when too many are asked for.
        """
        new = [name for name in dict.fromkeys(names) if name not in self._waiting]
        if len(self._waiting) + len(new) > NAMES_WAITING:
            raise Unavailable(BUSY)
        loop = asyncio.get_running_loop()
        for name in new:
            self._waiting[name] = loop.create_future()
            self._waiting[name].add_done_callback(_retrieve)
        answers = [self._waiting[name] for name in names]
        if not names:
            return []
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        await asyncio.wait(answers, timeout=WAIT_SECONDS)
        if any(self._waiting.get(name) is answer for name, answer in zip(names, answers, strict=True)):
            raise Unavailable(BUSY)
        return list(await asyncio.gather(*map(asyncio.shield, answers)))

    async def _ask(self) -> None:
        while self._waiting:
            names = [*self._waiting][:NAMES_PER_STATEMENT]
            answers = [self._waiting.pop(name) for name in names]
            try:
                (found,) = await asyncio.gather(self._read(names), return_exceptions=True)
                for number, answer in enumerate(answers):
                    if isinstance(found, BaseException):
                        # Each caller adds to it where it came from.
                        answer.set_exception(copy(found) if isinstance(found, LeaderboardError) else found)
                    else:
                        answer.set_result(found[number])
            finally:
                for answer in answers:
                    answer.cancel()  # of which none is left, but where the process is ending

    async def _read(self, names: Sequence[str]) -> list[SavedDefinition | None]:
        async with self._databases.answering(POSTGRES):
            return await saved.read_many(self._databases[GLOBAL], names)


def _retrieve(answer: asyncio.Future[SavedDefinition | None]) -> None:
    if not answer.cancelled():
        answer.exception()  # whoever asked may have gone: asyncio would complain of an error nobody saw
