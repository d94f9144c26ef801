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
from leaderboard_core.redis.deletions import take_entries
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from worker_service.recovery.by_id import ReadBoards, restore_by_id


class _Parts(NamedTuple):
    """Events without their entries, those with entries, and those among the first that end a player."""

    without_entries: list[str]
    with_entries: list[tuple[ScoreEvent, dict[str, Any]]]
    deletions: list[Deletion]


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
        held = set(await self.shard.command("LRANGE", keys.processing(region, self.worker), 0, -1))
        parts = _parts_of((raw for raw in raw_events if raw not in held), region, deleted_at)
        for deletion in parts.deletions:
            await take_entries(self.shard, region, deletion.user_id, deletion.timestamp)
        returned = 0
        if parts.without_entries:
            lists = (keys.queue(region), keys.board(region), keys.board(GLOBAL), keys.any_tombstone)
            written = (key for raw in parts.without_entries for key in self._keys_of(user_id_of(raw)))
            returned += await self.shard.run("return_events", (*lists, *written), (region, *parts.without_entries))
        for event, fields in parts.with_entries:
            returned += await self._give_back_entries(event, fields)
        return returned

    def _keys_of(self, user_id: str) -> tuple[str, str]:
        return self.shard.keys.user(user_id), self.shard.keys.tombstone(user_id)

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
            parts.deletions.append(event)
        elif event.timestamp <= deleted_at.get(event.user_id, -1):
            continue
        elif event.entries:
            fields = orjson.loads(raw)
            parts.with_entries.append((event, fields))
            if event.score is None:
                continue
            raw = orjson.dumps({name: value for name, value in fields.items() if name != "entries"}).decode()
        parts.without_entries.append(raw)
    return parts
