"""Read and write the definitions of boards on a shard, where each write compares the one that it goes by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leaderboard_core.boards import GONE, MAIN, Definition
from leaderboard_core.redis.shard import Shard

_BOARDS_PER_CALL = 100


async def read_definition(shard: Shard, name: str) -> Definition | None:
    """Read a board's definition, which may say that it is gone; None for a name that has none.

    Raises Unavailable, and WarmingUp while the shard is not open: it may have lost some.
    """
    keys = shard.keys
    found = await shard.run("read_board", (keys.admission, keys.definition(name), keys.rules(name)))
    return _parse(name, *found)


async def read_known(shard: Shard, names: Sequence[str]) -> list[Definition | None]:
    """Read the definitions of boards, as `read_definition` does, in one call."""
    keys = shard.keys
    wanted = [key for name in names for key in (keys.definition(name), keys.rules(name))]
    found = await shard.run("read_boards", (keys.admission, *wanted))
    return [_parse(name, *pair) for name, pair in zip(names, zip(found[::2], found[1::2], strict=True), strict=True)]


async def list_names(shard: Shard, after: str, most: int) -> list[str]:
    """Name boards in order that come after one, `most` at most; the main board is among them.

    Where a worker of this version has not been yet, all that have a definition, also gone ones. Raises as
    `read_definition`.
    """
    keys = shard.keys
    names: list[str] = await shard.run(
        "list_boards", (keys.admission, keys.living_boards, keys.board_names), (after, most)
    )
    if names and not names[0]:
        return sorted(name for name in {MAIN.name, *names} if name > after)
    if MAIN.name > after and (len(names) < most or MAIN.name < names[-1]):
        names = sorted({MAIN.name, *names})[:most]
    return names


async def define(shard: Shard, definition: Definition) -> Definition:
    """Write a definition, unless a later one of its name is there; return whichever is. Raises Unavailable.

    The rules of a later one are not returned.
    """
    keys, name = shard.keys, definition.name
    state = await shard.run(
        "define_board",
        (keys.definition(name), keys.rules(name), keys.board_names, keys.last_board_id, keys.living_boards),
        _words(definition),
    )
    return Definition.parse(name, state, None)


async def restore_definitions(shard: Shard, definitions: Sequence[Definition]) -> list[Definition]:
    """Write definitions, as `define` does, and return what is there; replicas are not waited for. Raises Unavailable.

    The shard need not be open.
    """
    keys, there = shard.keys, []
    lists = (keys.board_names, keys.last_board_id, keys.living_boards)
    for first in range(0, len(definitions), _BOARDS_PER_CALL):
        part = definitions[first : first + _BOARDS_PER_CALL]
        written = [key for one in part for key in (keys.definition(one.name), keys.rules(one.name))]
        words = [word for one in part for word in _words(one)]
        states = await shard.run("restore_boards", (*lists, *written), words)
        there += [Definition.parse(one.name, state, None) for one, state in zip(part, states, strict=True)]
    return there


async def read_living(shard: Shard) -> set[str]:
    """Name the boards of which a shard knows that they are not gone, but for the main one. Raises Unavailable."""
    return {*await shard.command("ZRANGE", shard.keys.living_boards, 0, -1)} - {"", MAIN.name}


async def read_last_id(shard: Shard) -> int:
    """Read the greatest id of a board that a shard was told of, whether or not it is open. Raises Unavailable."""
    return int(await shard.command("GET", shard.keys.last_board_id) or 0)


async def read_names(shard: Shard) -> set[str]:
    """Name the boards that have a definition, also gone ones, whether or not the shard is open. Raises Unavailable."""
    return {*await shard.command("SMEMBERS", shard.keys.board_names)}


async def read_definitions(shard: Shard, names: Iterable[str] | None = None) -> dict[str, Definition]:
    """Read what a shard has of these names, or of all, whether or not it is open. Raises Unavailable."""
    keys = shard.keys
    wanted = [*(await read_names(shard) if names is None else names)]
    found: dict[str, Definition] = {}
    for first in range(0, len(wanted), _BOARDS_PER_CALL):
        part = wanted[first : first + _BOARDS_PER_CALL]
        values = await shard.command(
            "MGET", *(key for name in part for key in (keys.definition(name), keys.rules(name)))
        )
        for name, state, rules in zip(part, values[::2], values[1::2], strict=True):
            if (definition := _parse(name, state, rules)) is not None:
                found[name] = definition
    return found


def _parse(name: str, state: str | None, rules: str | None) -> Definition | None:
    return None if state is None and name != MAIN.name else Definition.parse(name, state, rules)


def _words(definition: Definition) -> tuple[str | int, ...]:
    board = definition.board
    return definition.name, board.id, GONE if definition.gone else board.version, board.rules.encode()
