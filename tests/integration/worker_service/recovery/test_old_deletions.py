"""Test what docs/operations.md says about rows of deleted players: which of them may be removed, and by what."""

from __future__ import annotations

import re

import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.docs.regions import REPOSITORY
from tests.support.service import Api
from tests.support.worker import drained, working
from worker_service.recovery.verify import Verifier


def documented() -> str:
    """The statement of the documents, for deletions of now instead of months ago."""
    section = (REPOSITORY / "docs/operations.md").read_text("utf-8").partition("## Deleted players")[2]
    statements: list[str] = re.findall(r"```sql\n(.+?)```", section.partition("\n## ")[0], re.DOTALL)
    (statement,) = statements
    assert statement.count("INTERVAL '90 days'") == 1
    return statement.replace("'90 days'", "'0 days'")


async def test_deletions_go_that_nothing_can_ask_for(
    api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    pool = databases["EU"]
    async with working(environ, block_seconds=0.1):
        for user_id in ("gone", "anew", "recent"):
            await api.register(user_id, "EU", 10)
            assert (await api.delete(user_id)).status_code == 200
        await api.register("anew", "EU", 20)
        await drained(all_redis)
        outdated = "UPDATE deleted_players SET tokens_until = now() AT TIME ZONE 'utc' WHERE user_id != 'recent'"
        await pool.execute(outdated)
        assert await pool.execute(documented()) == "DELETE 1"
        left = {row["user_id"] for row in await pool.fetch("SELECT user_id FROM deleted_players")}
        assert left == {"anew", "recent"}, "Redis compares with the one, the other's tokens may be valid"
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        report = await Verifier(shard_map, databases, wait_seconds=0.2).verify()
    finally:
        await shard_map.close()
    assert (report.players, report.differences) == (1, [])
