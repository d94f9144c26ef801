"""Keep in GLOBAL's database which boards are gone, and take their entries out of any database, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from leaderboard_core.boards import Board, Rules
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool


class DeadBoard(NamedTuple):
    """A board that is gone; `settled` when that was long enough ago for everybody to have heard of it."""

    board: Board
    settled: bool


async def claim(pool: Pool, seconds: float) -> DeadBoard | None:
    """Claim a board whose entries may not all be taken away; None when there is none. Raises asyncpg's errors."""
    row = await pool.fetchrow(sql.load("claim_dead_board"), seconds)
    if row is None:
        return None
    return DeadBoard(Board(row["name"], row["id"], 0, Rules.decode(row["rules"])), row["settled"])


async def keep(pool: Pool, board: Board, seconds: float) -> None:
    """Keep a claim for longer. Raises asyncpg's errors."""
    await pool.execute(sql.load("keep_dead_board"), board.id, seconds)


async def note_swept(pool: Pool, board: Board) -> None:
    """Say that nothing of it was found any more. Raises asyncpg's errors."""
    await pool.execute(sql.load("note_swept"), board.id)


async def reopen(pool: Pool, ids: Collection[int]) -> list[int]:
    """Have those of these boards swept again that are gone; return which. Raises asyncpg's errors."""
    return [row["id"] for row in await pool.fetch(sql.load("reopen_dead_boards"), list(ids))]


async def dead_among(pool: Pool, ids: Collection[int]) -> set[int]:
    """Return which of these boards are gone. Raises asyncpg's errors."""
    return {row["id"] for row in await pool.fetch(sql.load("dead_among"), list(ids))}


async def being_swept(pool: Pool) -> set[int]:
    """Return the boards that are gone, and whose entries are being taken away. Raises asyncpg's errors."""
    return {row["id"] for row in await pool.fetch(sql.load("boards_being_swept"))}


async def boards_of_entries(pool: Pool) -> set[int]:
    """Return the boards of which a database has entries. Raises asyncpg's errors."""
    return {row["id"] for row in await pool.fetch(sql.load("boards_of_entries"))}


async def delete_entries(pool: Pool, board: Board, most: int) -> int:
    """Delete rows of a board's entries, those left by a removal aside; returns how many. Raises asyncpg's errors."""
    return int(await pool.fetchval(sql.load("delete_entries_of_board"), board.id, most))


async def removed_entries(pool: Pool, board: Board, most: int) -> Sequence[Any]:
    """Read rows that removals have left of a board: user_id, region, board_window. Raises asyncpg's errors."""
    return list(await pool.fetch(sql.load("removed_entries_of_board"), board.id, most))


async def delete_removed(pool: Pool, board: Board, user_ids: Collection[str]) -> None:
    """Delete what `removed_entries` has read. Raises asyncpg's errors."""
    await pool.execute(sql.load("delete_removed_entries"), board.id, list(user_ids))
