"""Scores on boards live through killed workers, lost answers and a lost Redis; nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from tests.integration.worker_service.recovery.test_verify import verified
from tests.support.boards import BoardModel
from tests.support.entries import entries_in
from tests.support.service import Api
from tests.support.worker import EAGER, drained, working
from worker_service.recovery.rebuild import rebuild

REGIONS = ("EU", "NA", "ASIA")
RULES = {
    "main": {"max_submits": 1000, "metadata_bytes": 100},
    "coins": {"operator": "sum", "max_submits": 1000},
    "laps": {"operator": "best", "order": "asc", "ties": "earliest", "metadata_bytes": 100},
    "level": {"regions": False},
}


class Players:
    """Players who write to three boards and to main; what each was told last must stand."""

    def __init__(self, api: Api, chance: random.Random) -> None:
        self._api, self._chance = api, chance
        self.models: dict[str, BoardModel] = {}
        self.repeatable: list[tuple[dict[str, Any], str, str]] = []

    async def define(self) -> None:
        for name, rules in RULES.items():
            assert (await self._api.define(rules, name)).status_code == (200 if name == "main" else 201)
            board = await self._api.services.known_boards.board(name)
            self.models[name] = BoardModel(board)

    async def write(self, user_id: str) -> None:
        """Send one game's end, and sometimes once more: an answer may be lost."""
        region, key = REGIONS[len(user_id) % 3], f"end-{self._chance.random()}"
        scores = []
        for name, model in self.models.items():
            score = self._chance.randint(-50, 50)
            metadata = {"at": score} if model.board.rules.metadata_bytes else None
            scores.append({"user_id": user_id, "region": region, "board": name, "score": score, "metadata": metadata})
            model.submit(user_id, score, metadata=metadata)
        token = self._api.server_token()
        for _ in range(self._chance.choice([1, 1, 2])):
            answer = await self._api.post("/scores", {"scores": scores}, token=token, key=key)
            assert answer.json()["ok"], answer.text
        self.repeatable.append(({"scores": scores}, key, token))

    async def compare(self) -> None:
        for name, model in self.models.items():
            page = await self._api.get("/top", board=name, limit=1000, metadata=True)
            assert [(row["user_id"], row["score"], row.get("metadata")) for row in page.json()["rows"]] == [
                (user_id, model.standings[user_id].score, model.standings[user_id].metadata)
                for user_id in model.order()
            ]


async def test_three_boards_through_killed_workers_and_a_lost_redis(
    any_api: Api, environ: dict[str, str], all_redis: redis.Redis, databases: RegionDatabases
) -> None:
    chance = random.Random(7)
    players = Players(any_api, chance)
    await players.define()
    names = [f"p{number}" for number in range(12)] + ["longer", "longest"]

    async def writes(rounds: int) -> None:
        for _ in range(rounds):
            for user_id in chance.sample(names, 6):
                await players.write(user_id)

    for _ in range(4):  # one worker, which is started again
        async with working(environ, block_seconds=0.05) as worker:
            task = asyncio.create_task(writes(6))
            await asyncio.sleep(0)
            while not task.done():
                await asyncio.wait((task,), timeout=chance.random() / 4)
                await worker.kill()
            await task
    await players.compare()
    async with working(environ, heartbeats=True):
        await drained(all_redis)
    assert (await verified(environ, databases)).differences == []
    before = [await entries_in(shard.client) for shard in any_api.services.shard_map.shards]

    for shard in any_api.services.shard_map.shards:
        await shard.client.flushdb()
        await rebuild(shard, databases, EAGER)
    after = [await entries_in(shard.client) for shard in any_api.services.shard_map.shards]
    assert after == before
    await players.compare()
    # The last write of each entry is known by its row: once more, and it counts no more.
    for body, key, token in players.repeatable[-3:]:
        await any_api.post("/scores", body, token=token, key=key)
    await players.compare()
