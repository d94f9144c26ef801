"""Keep the definitions of boards in GLOBAL's database: what is there counts, and every shard follows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from leaderboard_core.boards import MAIN, Board, Definition, Rules
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool
from leaderboard_core.postgres.fencing import limit_idle


class SavedDefinition(NamedTuple):
    """A definition, and whether every shard is known to have it."""

    definition: Definition
    everywhere: bool

    @classmethod
    def of_row(cls, row: Any) -> Self:
        board = Board(row["name"], row["id"], row["version"], Rules.decode(row["rules"]))
        return cls(Definition(board, row["gone"]), row["everywhere"])


async def state_main(pool: Pool, rules: Rules) -> SavedDefinition:
    """State the rules of the main board; its version counts on unless they are what they were.

    Raises asyncpg's errors.
    """
    async with pool.acquire() as connection, connection.transaction():
        text = rules.encode()
        await limit_idle(connection)
        await connection.execute(sql.load("ensure_board"), MAIN.name, MAIN.id, MAIN.rules.encode())
        row = await connection.fetchrow(sql.load("lock_board"), MAIN.name)
        saved = SavedDefinition.of_row(row)
        if saved.definition.board.rules == rules:
            return saved
        return SavedDefinition.of_row(await connection.fetchrow(sql.load("change_board"), MAIN.name, text))


async def remove(pool: Pool, name: str) -> Definition | None:
    """Note that a board is gone; None when there is none, or it is gone everywhere. Raises asyncpg's errors."""
    row = await pool.fetchrow(sql.load("remove_board"), name)
    return None if row is None else SavedDefinition.of_row(row).definition


async def overtake(pool: Pool, seen: Definition) -> SavedDefinition | None:
    """Give a board's definition a version after one that a shard has, where none is that late: a restore took it back.

    Returns None when nothing had to be changed: somebody has stated another one meanwhile. Raises asyncpg's errors.
    """
    board = seen.board
    if seen.name == MAIN.name:
        await pool.execute(sql.load("ensure_board"), MAIN.name, MAIN.id, MAIN.rules.encode())
    row = await pool.fetchrow(sql.load("overtake_board"), seen.name, board.id, board.version)
    return None if row is None else SavedDefinition.of_row(row)


async def read_saved(pool: Pool, name: str) -> SavedDefinition | None:
    """Read one board's definition; None where there is none. Raises asyncpg's errors."""
    row = await pool.fetchrow(sql.load("board_by_name"), name)
    return _unless_missing(name, row)


async def all_saved(pool: Pool, *, not_everywhere: bool = False) -> Sequence[SavedDefinition]:
    """Read every definition by name, also of boards that are gone, or those that a shard may lack.

    Raises asyncpg's errors.
    """
    return [SavedDefinition.of_row(row) for row in await pool.fetch(sql.load("all_boards"), not_everywhere)]


async def note_everywhere(pool: Pool, definition: Definition) -> None:
    """Say that every shard has a definition, unless it has changed since. Raises asyncpg's errors."""
    board = definition.board
    await pool.execute(sql.load("note_everywhere"), definition.name, board.id, board.version, definition.gone)


def _unless_missing(name: str, row: Any) -> SavedDefinition | None:
    if row is None:
        return SavedDefinition(Definition(MAIN), everywhere=True) if name == MAIN.name else None
    return SavedDefinition.of_row(row)
