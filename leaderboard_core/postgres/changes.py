"""Read the players whose rows changed after a moment, a page at a time."""

from __future__ import annotations

from typing import Any

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool


async def page_changed_players(pool: Pool, micros: int, user_id: str, *, rows: int, timeout: float) -> list[Any]:
    """Read the `rows` rows after the place (`micros` since the epoch, `user_id`), the oldest change first.

    Begin with the moment and ''; go on with the last row of each page, until one is empty. A row that changes
    meanwhile comes again, later on. Raises asyncpg's errors and TimeoutError after `timeout` seconds.
    """
    found: list[Any] = await pool.fetch(sql.load("page_changed_players"), micros, user_id, rows, timeout=timeout)
    return found
