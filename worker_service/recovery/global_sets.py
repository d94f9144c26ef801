"""Make or remove the GLOBAL sets of a shard whose regions have changed: one of a single region has none of its own."""

from __future__ import annotations

from leaderboard_core.boards import Place
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from worker_service.recovery.entries import Boards


async def settle_global_sets(shard: Shard, held: set[str], boards: Boards) -> None:
    """Make the GLOBAL sets of a shard that had one region and gets a second one, or remove them the other way round.

    Those of a shard of one region in a cluster are that region's (`Keys.only_region`); boards without regions have a
    GLOBAL set everywhere. What is removed would be out of date when there are two regions again. Raises Unavailable.
    """
    keys, now = shard.keys, set(shard.regions)
    if not keys.prefix or now == held:
        return
    if keys.only_region and GLOBAL not in now:
        await shard.command("DEL", keys.own_global_board)
        for field in _fields(boards):
            await shard.command("DEL", keys.entry_set(field, GLOBAL))
    elif len(held) == 1 and not keys.only_region and GLOBAL not in held:
        (region,) = held
        await shard.command("ZUNIONSTORE", keys.own_global_board, 1, keys.board(region))
        for field in _fields(boards):
            await shard.command("ZUNIONSTORE", keys.entry_set(field, GLOBAL), 1, keys.entry_set(field, region))


def _fields(boards: Boards) -> list[str]:
    """Name the rankings of entries that have sets for regions and for GLOBAL."""
    places = [Place(board, window, GLOBAL) for board in boards.values() for window in board.rules.windows]
    return [place.entry_field for place in places if place.board.rules.regions and not place.is_default]
