"""Entries of boards that are gone are left out of what is saved, unless nobody can say that they are."""

from __future__ import annotations

import json

from leaderboard_core.boards import Rules
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.definitions import remove, state
from leaderboard_core.settings import TopologySettings, load
from tests.support.all_redis import AllRedis
from tests.support.entries import STATE, as_json
from tests.support.proxy import proxy
from worker_service.saving import dead_boards
from worker_service.saving.batch import Batch, build
from worker_service.saving.dead_boards import DeadBoards


def batch(*ids: int) -> Batch:
    """A player's card, and an entry on each of these boards."""
    fields = {"user_id": "alice", "name": "alice", "region": "EU", "score": 5, "timestamp": STATE.clock}
    entries = [{**as_json(STATE), "board_id": board_id} for board_id in ids]
    return build([json.dumps({**fields, "entries": entries})], "EU")


def boards_of(found: Batch) -> list[int]:
    (event,) = found.events
    assert event.score == 5
    return [entry.board_id for entry in event.entries]


async def test_only_what_is_known_to_be_gone_is_left_out(
    environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    shard = all_redis.shard_map.shard_of("EU", "alice")
    for name in ("one", "two"):
        await state(databases["GLOBAL"], name, Rules(), at_most=9)
    async with proxy(environ["DATABASE_URL_GLOBAL"]) as between:
        settings = load(TopologySettings, {**environ, "DATABASE_URL_GLOBAL": between.url})
        reached = await RegionDatabases.open(settings)
        try:
            known, later = DeadBoards(reached["GLOBAL"]), DeadBoards(reached["GLOBAL"])
            assert boards_of(await known.without(batch(0, 1, 2, 77), shard, "EU")) == [0, 1, 2, 77]
            await remove(databases["GLOBAL"], "one")
            # For a second it may be taken to be there; the rows are swept.
            assert boards_of(await known.without(batch(1, 2), shard, "EU")) == [1, 2]
            assert boards_of(await later.without(batch(0, 1, 2, 77), shard, "EU")) == [0, 2, 77]
            await between.cut()
            assert boards_of(await later.without(batch(1, 2), shard, "EU")) == [2]
            fresh = DeadBoards(reached["GLOBAL"])
            assert boards_of(await fresh.without(batch(1, 2), shard, "EU")) == [1, 2]
        finally:
            await reached.close()
    assert dead_boards.ASK_SECONDS == 1
