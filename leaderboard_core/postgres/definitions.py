"""Keep the definitions of boards in GLOBAL's database: what is there counts, and every shard follows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

from leaderboard_core.boards import MAIN, Board, Definition, Rules
from leaderboard_core.errors import TooManyBoards
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


class Stated(NamedTuple):
    """What is saved now, and whether the board was made just then."""

    saved: SavedDefinition
    made: bool


async def state(
    pool: Pool,
    name: str,
    rules: Rules,
    *,
    at_most: int,
    compare: Callable[[Rules], None] = lambda _: None,
    seen: Definition | None = None,
    last_id: int = 0,
) -> Stated:
    """State the rules of a board, which is made if there is none; its version counts on unless they are what they were.

    `compare` is told the rules of before, and may raise. `seen` is what shards have, which is adopted if it is of a
    later board; a board that is made gets an id after `last_id`. Raises TooManyBoards when there are `at_most` beside
    the main board, and asyncpg's errors.
    """
    async with _alone(pool) as connection:
        if seen is not None and seen.name != MAIN.name:
            await _adopt(connection, seen)
        row = await connection.fetchrow(sql.load("lock_board"), name)
        if row is None or row["gone"]:
            if await connection.fetchval(sql.load("number_of_boards")) >= at_most:
                raise TooManyBoards
            await connection.execute(sql.load("pass_board_id"), last_id)
            row = await connection.fetchrow(sql.load("make_board"), name, rules.encode())
            return Stated(SavedDefinition.of_row(row), made=True)
        saved = SavedDefinition.of_row(row)
        before = saved.definition.board.rules
        if before != rules:
            compare(before)
            saved = SavedDefinition.of_row(await connection.fetchrow(sql.load("change_board"), name, rules.encode()))
        return Stated(saved, made=False)


async def remove(pool: Pool, name: str, *, seen: Definition | None = None) -> Definition | None:
    """Note that a board is gone; None when there is none, or it is gone everywhere.

    `seen` is what shards have, which is adopted if it is of a later board. Raises asyncpg's errors.
    """
    async with _alone(pool) as connection:
        if seen is not None:
            await _adopt(connection, seen)
        row = await connection.fetchrow(sql.load("remove_board"), name)
    return None if row is None else SavedDefinition.of_row(row).definition


async def adopt(pool: Pool, seen: Definition) -> SavedDefinition | None:
    """Take over what a shard has of a name and Postgres lost: a later board, or that it is gone.

    No id is given out any more that is not later. Returns None when nothing had to be changed. Raises asyncpg's errors.
    """
    async with _alone(pool) as connection:
        row = await _adopt(connection, seen)
    return None if row is None else SavedDefinition.of_row(row)


async def pass_id(pool: Pool, last_id: int) -> bool:
    """Give no id out any more that is not later; return whether there would have been one. Raises asyncpg's errors."""
    async with _alone(pool) as connection:
        return await connection.fetchval(sql.load("pass_board_id"), last_id) is not None


async def _adopt(connection: Any, seen: Definition) -> Any:
    board = seen.board
    return await connection.fetchrow(
        sql.load("adopt_board"), seen.name, board.id, board.version, seen.gone, board.rules.encode()
    )


async def overtake(pool: Pool, known: Definition, seen: Definition) -> SavedDefinition | None:
    """Give a board's definition a version after one that a shard has, where none is that late: a restore took it back.

    `known` is what Postgres had. A later board is adopted. Returns None when nothing had to be changed: somebody has
    stated another one meanwhile. Raises asyncpg's errors.
    """
    if seen.name != MAIN.name and (seen.gone or seen.board.id != known.board.id):
        return await adopt(pool, seen)
    async with _alone(pool) as connection:
        row = await connection.fetchrow(
            sql.load("overtake_board"), seen.name, seen.board.id, seen.board.version, known.board.version
        )
    return None if row is None else SavedDefinition.of_row(row)


@asynccontextmanager
async def _alone(pool: Pool) -> AsyncIterator[Any]:
    """Change definitions in a transaction, one at a time: whoever does holds the main board's row.

    So that boards are counted as they are, and ids rise. Raises asyncpg's errors.
    """
    async with pool.acquire() as connection, connection.transaction():
        await limit_idle(connection)
        await connection.execute(sql.load("ensure_board"), MAIN.name, MAIN.id, MAIN.rules.encode())
        await connection.fetchrow(sql.load("lock_board"), MAIN.name)
        yield connection


async def read_saved(pool: Pool, name: str) -> SavedDefinition | None:
    """Read one board's definition; None where there is none. Raises asyncpg's errors."""
    (found,) = await read_many(pool, [name])
    return found


async def read_many(pool: Pool, names: Sequence[str]) -> list[SavedDefinition | None]:
    """Read definitions in the order of these names; None where there is none. Raises asyncpg's errors."""
    rows = {row["name"]: row for row in await pool.fetch(sql.load("boards_by_name"), list(names))}
    return [_unless_missing(name, rows.get(name)) for name in names]


async def all_saved(pool: Pool, *, not_everywhere: bool = False) -> Sequence[SavedDefinition]:
    """Read every definition by name, also of boards that are gone, or those that a shard may lack.

    Raises asyncpg's errors.
    """
    return [SavedDefinition.of_row(row) for row in await pool.fetch(sql.load("all_boards"), not_everywhere)]


async def living_saved(pool: Pool) -> list[SavedDefinition]:
    """Read the definitions of boards that are not gone. Raises asyncpg's errors."""
    return [SavedDefinition.of_row(row) for row in await pool.fetch(sql.load("living_boards"))]


async def names_after(pool: Pool, name: str, most: int) -> list[str]:
    """Name boards in order that come after one and are not gone, but for the main one. Raises asyncpg's errors."""
    return [row["name"] for row in await pool.fetch(sql.load("boards_after"), name, most)]


async def note_everywhere(pool: Pool, definition: Definition) -> None:
    """Say that every shard has a definition, unless it has changed since. Raises asyncpg's errors."""
    board = definition.board
    await pool.execute(sql.load("note_everywhere"), definition.name, board.id, board.version, definition.gone)


def _unless_missing(name: str, row: Any) -> SavedDefinition | None:
    if row is None:
        return SavedDefinition(Definition(MAIN), everywhere=True) if name == MAIN.name else None
    return SavedDefinition.of_row(row)
