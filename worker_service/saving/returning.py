"""Give events back to a Redis that has lost them, after Postgres has refused them under an earlier admission."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from leaderboard_core.boards import Place
from leaderboard_core.entries import encode
from leaderboard_core.events import Deletion, PoisonedEvent, ScoreEvent, decode, user_id_of
from leaderboard_core.postgres.databases import Pool
from leaderboard_core.postgres.deletions import MIN_TOMBSTONE_SECONDS
from leaderboard_core.redis.deletions import ENTRIES_PER_CALL, entries_of, sets_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from worker_service.recovery.by_id import ReadBoards, restore_by_id


class _Parts(NamedTuple):
    """Events without their entries, those with entries, and those that end a player."""

    without_entries: list[str]
    with_entries: list[tuple[ScoreEvent, dict[str, Any]]]
    deletions: list[tuple[Deletion, str]]


@dataclass(frozen=True, slots=True)
class Returning:
    """Where the events of one queue go back to, and what tells which of them are lost."""

    shard: Shard
    region: str
    pool: Pool
    worker: str
    read_boards: ReadBoards

    async def give_back(self, raw_events: Sequence[str]) -> int:
        """Bring events onto the boards and into the queue that this Redis has lost; return how many came back.

        What the worker's list holds is taken from there again. First their players are restored from Postgres: another
        worker may have saved the batch, and later writes, while this one was paused, and a Redis that is empty knows of
        none of them. Raises Unavailable and RebuildInterrupted; then it may be done again.
        """
        keys, region = self.shard.keys, self.region
        user_ids = list({user_id_of(raw): None for raw in raw_events})
        deleted_at = await restore_by_id(self.shard, self.pool, region, user_ids, self.read_boards)
        deleted_at = await self._when_done(deleted_at)
        held = set(await self.shard.command("LRANGE", keys.processing(region, self.worker), 0, -1))
        parts = _parts_of((raw for raw in raw_events if raw not in held), region, deleted_at)
        returned = 0
        for deletion, raw in parts.deletions:
            await self._give_back_deletion(deletion, raw)
            returned += 1
        if parts.without_entries:
            lists = (keys.queue(region), keys.board(region), keys.board(GLOBAL))
            written = (key for raw in parts.without_entries for key in self._keys_of(user_id_of(raw)))
            returned += await self.shard.run("return_events", (*lists, *written), (region, *parts.without_entries))
        for event, fields in parts.with_entries:
            returned += await self._give_back_entries(event, fields)
        return returned

    def _keys_of(self, user_id: str) -> tuple[str, str, str]:
        keys = self.shard.keys
        return keys.user(user_id), keys.tombstone(user_id), keys.returned_deletion(user_id)

    async def _when_done(self, deleted_at: Mapping[str, int]) -> dict[str, int]:
        """Return when deletions were done that Postgres has: those that were given back may have a later time there."""
        if not deleted_at:
            return {}
        found = await self.shard.command("MGET", *map(self.shard.keys.returned_deletion, deleted_at))
        done = dict(deleted_at)
        for user_id, text in zip(deleted_at, found, strict=True):
            written, _, given = (text or "").partition(" ")
            if given and int(given) == deleted_at[user_id]:
                done[user_id] = int(written)
        return done

    async def _give_back_deletion(self, deletion: Deletion, raw: str) -> None:
        keys, region, user_id = self.shard.keys, self.region, deletion.user_id
        boards = (keys.queue(region), keys.board(region), keys.board(GLOBAL), keys.any_tombstone)
        written = (*boards, *self._keys_of(user_id), keys.entries(user_id))
        kept_seconds = max(deletion.tombstone_seconds, MIN_TOMBSTONE_SECONDS)
        done_at = deletion.written_at or deletion.timestamp  # it may have come back once before
        words: tuple[str | int, ...] = (user_id, region, done_at, kept_seconds)

        async def run(which: str, fields: Sequence[str]) -> int:
            sets = sets_of(self.shard, region, fields)
            args = (*words, which, raw, str(deletion.request_id), *fields)
            found: int = await self.shard.run("return_deletion", (*written, *sets), args)
            return found

        outcome = -1
        while outcome < 0:
            fields = await entries_of(self.shard, user_id)
            for first in range(ENTRIES_PER_CALL, len(fields), ENTRIES_PER_CALL):
                await run("part", fields[first : first + ENTRIES_PER_CALL])
            outcome = await run("last", fields[:ENTRIES_PER_CALL])

    async def _give_back_entries(self, event: ScoreEvent, fields: dict[str, Any]) -> int:
        keys, region, boards = self.shard.keys, self.region, await self.read_boards()
        unknown = [one for one in fields["entries"] if one["board_id"] not in boards]
        if unknown:
            # Who saves them finds out whether that board is gone; here they have no set.
            rest = {name: value for name, value in fields.items() if name != "score"} | {"entries": unknown}
            await self.shard.command("LPUSH", keys.queue(region), orjson.dumps(rest).decode())
        known = [entry for entry in event.entries if entry.board_id in boards]
        if not known:
            return len(unknown)
        places = [Place(boards[entry.board_id], entry.window, region) for entry in known]
        returned: int = await self.shard.run(
            "return_entries",
            (
                *(keys.queue(region), keys.board(region), keys.board(GLOBAL)),
                *(*self._keys_of(event.user_id), keys.entries(event.user_id)),
                *(key for place in places for key in self.shard.keys.sets(place)),
            ),
            (
                *(event.user_id, region, event.name, str(event.request_id), event.timestamp),
                *(f"{place.entry_field}\0{encode(entry)}" for place, entry in zip(places, known, strict=True)),
            ),
        )
        return returned + len(unknown)


def _parts_of(raw_events: Iterable[str], region: str, deleted_at: Mapping[str, int]) -> _Parts:
    parts = _Parts([], [], [])
    for raw in raw_events:
        try:
            event = decode(raw, region)
        except PoisonedEvent:
            parts.without_entries.append(raw)  # it goes the queue's way to the dead letters
            continue
        if isinstance(event, Deletion):
            parts.deletions.append((event, raw))
            continue
        if event.timestamp <= deleted_at.get(event.user_id, -1):
            continue
        if event.entries:
            fields = orjson.loads(raw)
            parts.with_entries.append((event, fields))
            if event.score is None:
                continue
            raw = orjson.dumps({name: value for name, value in fields.items() if name != "entries"}).decode()
        parts.without_entries.append(raw)
    return parts
