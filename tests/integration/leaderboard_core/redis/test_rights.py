"""A user of Redis who has just the rights that the documentation lists, and one who lacks some of them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.commands import KEY_PATTERNS, refusals
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from leaderboard_core.telemetry.health import log_warnings
from tests.support.own_redis import OwnRedis
from tests.support.service import running_service
from tests.support.waiting import eventually
from tests.support.worker import drained, working

DOCUMENT = Path(__file__).resolve().parents[4] / "docs/operations.md"


def apply_documented_line(own_redis: OwnRedis, *more: str) -> str:
    """Make the documented user, with further rules; return its URL."""
    (line,) = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("ACL SETUSER")]
    with own_redis.client() as client:
        client.execute_command(*line.split(), *more)
    return own_redis.url.replace("redis://", "redis://leaderboard:PASSWORD@")


async def test_service_and_worker_run_under_the_documented_rights(
    environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis
) -> None:
    own = {**environ, "REDIS_URL": apply_documented_line(own_redis)}
    with own_redis.client() as client:
        async with working(own, heartbeats=True), running_service(own) as api:

            async def healthy() -> bool:
                return (await api.get("/health")).status_code == 200

            await eventually(healthy, "an admitted Redis")
            assert _refused(client) == []
            token = await api.register("alice", "EU", 10)
            for _ in range(2):
                written = await api.post("/score/add", {"delta": 5}, token=token, key="k")
                assert _refused(client) == []
                assert written.json()["score"] == 15
            for path in ("/top", "/rank/alice", "/around/alice", "/range?min=0", "/status"):
                assert (await api.get(path)).status_code == 200, path
            assert (await api.export("alice", token)).status_code == 200
            async with redis.asyncio.Redis.from_url(own_redis.url, decode_responses=True) as mine:
                await drained(mine)
            assert (await api.delete("alice", token)).status_code == 200
        assert _refused(client) == []


def _refused(client: redis.Redis) -> list[str]:
    """List what the user was refused, as the server tells its administrators."""
    return [f"{entry['context']} {entry['object']}" for entry in client.acl_log()]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("-info", "-lpush"), ["its user may not use INFO", "its user may not use LPUSH"]),
        (("-multi",), ["its user may not use MULTI"]),
        (
            ("resetkeys", "~leaderboard:*", "~user:*", "~entries:*", "~queue:scores:*"),
            ["its user may not use the keys bucket:*"],
        ),
    ],
    ids=lambda one: " ".join(one),
)
async def test_what_is_refused_is_named(rules: tuple[str, ...], said: list[str], own_redis: OwnRedis) -> None:
    shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": apply_documented_line(own_redis, *rules)}))
    try:
        found = await refusals(shard_map.shards[0])
        assert found[: len(said)] == said
        with own_redis.client() as client:
            assert client.dbsize() == 0, "nothing that was tried was done"
    finally:
        await shard_map.close()


@pytest.mark.parametrize(
    "fewer", [(), ("-sort_ro", "resetkeys", *(f"~{one}" for one in KEY_PATTERNS))], ids=["", "sort"]
)
async def test_the_documented_user_is_refused_nothing_that_is_needed(
    fewer: tuple[str, ...], own_redis: OwnRedis
) -> None:
    shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": apply_documented_line(own_redis, *fewer)}))
    try:
        assert await refusals(shard_map.shards[0]) == []
    finally:
        await shard_map.close()


async def test_a_right_that_a_worker_lacks_at_its_start_is_the_reason_that_it_gives(own_redis: OwnRedis) -> None:
    shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": apply_documented_line(own_redis, "-info")}))
    try:
        with pytest.raises(Unavailable) as caught:
            await log_warnings(shard_map)
        (note,) = caught.value.__notes__
        assert "`leaderboard check` names what is refused" in note
        assert "'info' command" in note
        assert str(urlsplit(own_redis.url).port) in note
    finally:
        await shard_map.close()
