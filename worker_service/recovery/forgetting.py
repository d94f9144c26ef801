"""Remove players and their entries from a Redis that is not theirs, and no event or row of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from leaderboard_core.redis.deletions import ENTRIES_PER_CALL, entries_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from worker_service.recovery.restore import PLAYERS_PER_CALL


class OffSet(NamedTuple):
    """What goes from a set: a member, "" for that which the player's entry says.

    A `stray` one stays if it is what the entry says by now, a `misplaced` one goes in any case, and with one that is
    `gone` its entry goes too.
    """

    field: str
    region: str
    member: str
    how: Literal["stray", "misplaced", "gone"]


async def take_off(shard: Shard, user_id: str, members: Sequence[OffSet]) -> None:
    """Take members of a player off sets. Raises Unavailable."""
    keys = shard.keys
    for first in range(0, len(members), ENTRIES_PER_CALL):
        part = members[first : first + ENTRIES_PER_CALL]
        sets = (keys.entry_set(one.field, one.region) for one in part)
        texts = (f"{one.field}\0{one.member}\0{one.how}" for one in part)
        await shard.run("forget_entries", (keys.entries(user_id), *sets), (user_id, *texts))


async def forget_entries(shard: Shard, user_id: str) -> None:
    """Remove all entries of a player, of whichever region. Raises Unavailable."""
    await _forget(shard, {*shard.regions, GLOBAL}, user_id, await entries_of(shard, user_id))


async def forget_stray(shard: Shard, region: str, user_id: str) -> None:
    """Remove a player from a Redis that holds another part of the players, and no event of it. Raises Unavailable."""
    keys = shard.keys
    await forget_entries(shard, user_id)
    await shard.pipeline(
        [
            ("ZREM", keys.board(region), user_id),
            ("ZREM", keys.board(GLOBAL), user_id),
            ("DEL", keys.user(user_id)),
        ]
    )


async def forget_players(shard: Shard, region: str) -> None:
    """Remove the players of a region from this Redis: entries, hashes and boards. Raises Unavailable."""
    keys = shard.keys
    boards = (keys.board(region), keys.board(GLOBAL))
    while user_ids := await shard.command("ZRANGE", keys.board(region), 0, PLAYERS_PER_CALL - 1):
        homes = await shard.pipeline([("HGET", keys.user(user_id), "region") for user_id in user_ids])
        fields = await shard.pipeline([("HKEYS", keys.entries(user_id)) for user_id in user_ids])
        for user_id, home, found in zip(user_ids, homes, fields, strict=True):
            if home == region:
                await _forget(shard, {region, GLOBAL}, user_id, found)
        await shard.run("forget_players", (*boards, *map(keys.user, user_ids)), (keys.user(""), region))


async def _forget(shard: Shard, places: Collection[str], user_id: str, fields: Sequence[str]) -> None:
    for name in fields:  # an entry in one call, which is what knows its member
        await take_off(shard, user_id, [OffSet(name, place, "", "gone") for place in places])


async def forget_fields(shard: Shard, fields: Sequence[tuple[str, str]]) -> None:
    """Forget entries of boards that are gone, each by user_id and field, which no set leads to. Raises Unavailable."""
    for first in range(0, len(fields), ENTRIES_PER_CALL):
        part = fields[first : first + ENTRIES_PER_CALL]
        written = [key for user_id, _ in part for key in (shard.keys.entries(user_id), shard.keys.user(user_id))]
        await shard.run("forget_fields", written, [field for _, field in part])
