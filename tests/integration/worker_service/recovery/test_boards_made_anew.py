"""A board that is deleted and made anew again and again, while players write to it, ends with the last one's scores."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from leaderboard_core.postgres.databases import RegionDatabases
from tests.integration.leaderboard_service.definitions.test_many_boards import remove
from tests.support.all_redis import AllRedis
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import drained, working
from worker_service.recovery.sweep import CLAIM_SECONDS

ROUNDS = 6
PLAYERS = {"alice": "EU", "bob": "NA", "carol": "ASIA", "dave": "EU"}
COINS = {"operator": "sum", "ties": "earliest"}


@dataclass
class Player:
    """Adds 1 at a time, and remembers when each add that was taken began and ended."""

    user_id: str
    token: str
    taken: list[tuple[float, float]] = field(default_factory=list)

    async def add_until(self, api: Api, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            answer = await api.post("/score/add", {"delta": 1, "board": "coins"}, token=self.token)
            if answer.status_code == 200:
                self.taken.append((began, time.monotonic()))
            else:
                assert answer.json()["error"] in ("board_not_found", "unavailable"), answer.text

    def score_since(self, put_began: float, put_ended: float) -> tuple[int, int]:
        """The least and the most that it can have on a board that was made then."""
        return (
            sum(began > put_ended for began, _ in self.taken),
            sum(ended > put_began for _, ended in self.taken),
        )


async def test_the_last_board_has_what_was_sent_to_it_and_nothing_else(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    api, stop = any_api, asyncio.Event()
    players = [Player(user_id, await api.register(user_id, region)) for user_id, region in PLAYERS.items()]
    writers = [asyncio.create_task(player.add_until(api, stop)) for player in players]
    began = ended = 0.0
    async with working(environ, heartbeats=True):
        for number in range(ROUNDS):
            began = time.monotonic()
            assert (await api.define(COINS, "coins")).status_code == 201
            ended = time.monotonic()
            at_least = sum(len(player.taken) for player in players) + 20

            async def went_on(at_least: int = at_least) -> bool:
                return sum(len(player.taken) for player in players) >= at_least

            await eventually(went_on)
            if number < ROUNDS - 1:
                assert (await remove(api, "coins")).status_code == 200
        stop.set()
        await asyncio.gather(*writers)
        await drained(*(shard.client for shard in all_redis.shard_map.shards))
        board_id = int(str(await all_redis.get("board:coins")).split()[0])
        found = {row["user_id"]: row["score"] for row in (await api.get("/top", board="coins")).json()["rows"]}
        for player in players:
            least, most = player.score_since(began, ended)
            assert least <= found.get(player.user_id, 0) <= most

        async def only_the_last_one() -> bool:
            ids = {
                row["board_id"]
                for region in databases.regions
                for row in await databases[region].fetch("SELECT DISTINCT board_id FROM entries")
            }
            fields: set[str] = set()
            for shard in all_redis.shard_map.shards:
                async for key in shard.client.scan_iter("*entries:*"):
                    fields |= {str(name) for name in await shard.client.hkeys(key)}
            return ids == {board_id} and fields == {f"coins.{board_id}:all"}

        # What is saved after a pass over its board waits for the next one.
        await eventually(only_the_last_one, "the end of all other boards", seconds=CLAIM_SECONDS + 20)
    rows: dict[str, int] = {}
    for region in databases.regions:
        rows |= {
            row["user_id"]: row["key"] for row in await databases[region].fetch("SELECT user_id, key FROM entries")
        }
    assert rows == found
