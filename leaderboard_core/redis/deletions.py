"""Take a player's entries off the boards of one Redis before the player goes, and restore deletions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from leaderboard_core.redis.keys import GLOBAL
from leaderboard_core.redis.shard import Shard

ENTRIES_PER_CALL = 200


class DeletedPlayer(NamedTuple):
    """A deletion that Postgres has: its time, and until when tokens from before it may be valid (µs)."""

    user_id: str
    deleted_at: int
    tokens_until: int


async def entries_of(shard: Shard, user_id: str) -> list[str]:
    """Read the fields of a player's entries. Raises Unavailable."""
    found: list[str] = await shard.command("HKEYS", shard.keys.entries(user_id))
    return found


def sets_of(shard: Shard, region: str, fields: Sequence[str]) -> Iterator[str]:
    """Return the sets that the entries of these fields may be in, two for each."""
    for field in fields:
        yield shard.keys.entry_set(field, region)
        yield shard.keys.entry_set(field, GLOBAL)


async def last_entries_of(shard: Shard, region: str, user_id: str) -> list[str]:
    """Take all but ENTRIES_PER_CALL entries of a player who is about to be deleted; return the fields that are left.

    Raises Unavailable.
    """
    fields = await entries_of(shard, user_id)
    await _take(shard, region, user_id, "", fields[ENTRIES_PER_CALL:])
    return fields[:ENTRIES_PER_CALL]


async def take_entries(shard: Shard, region: str, user_id: str, deleted_at: int) -> None:
    """Take the entries of a player from before a deletion (µs), or all if the player is from before it too.

    Raises Unavailable.
    """
    await _take(shard, region, user_id, deleted_at, await entries_of(shard, user_id))


async def _take(shard: Shard, region: str, user_id: str, deleted_at: int | Literal[""], fields: Sequence[str]) -> None:
    keys = shard.keys
    for first in range(0, len(fields), ENTRIES_PER_CALL):
        part = fields[first : first + ENTRIES_PER_CALL]
        written = (keys.entries(user_id), keys.user(user_id), *sets_of(shard, region, part))
        await shard.run("take_entries", written, (user_id, region, deleted_at, *part))


async def restore_deletions(shard: Shard, region: str, deletions: Sequence[DeletedPlayer]) -> None:
    """Remove players of a region who were deleted later than they were written here, their entries first.

    Raises Unavailable.
    """
    keys = shard.keys
    boards = (keys.board(region), keys.board(GLOBAL), keys.any_tombstone)
    left = {one.user_id: one for one in deletions}
    while left:
        written = (key for user_id in left for key in (keys.user(user_id), keys.tombstone(user_id)))
        texts = (f"{one.deleted_at}\0{one.tokens_until}" for one in left.values())
        words = (keys.user(""), region, keys.entries(""), *texts)
        found: list[str] = await shard.run("restore_deletions", (*boards, *written), words)
        for user_id in found[::2]:
            await take_entries(shard, region, user_id, left[user_id].deleted_at)
        left = {
            user_id: left[user_id] for user_id, what in zip(found[::2], found[1::2], strict=True) if what == "waits"
        }
