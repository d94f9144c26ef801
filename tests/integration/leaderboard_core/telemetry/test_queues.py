"""What is reported of the queues costs one round trip a Redis, and does not hang with a Redis that hangs."""

from __future__ import annotations

import asyncio

from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from leaderboard_core.telemetry.queues import QueueProbe
from tests.support.proxy import proxy
from tests.support.waiting import eventually


async def test_a_redis_that_hangs_does_not_make_the_report_hang(environ: dict[str, str]) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    shard_map = ShardMap.open(load(TopologySettings, {**environ, "REDIS_URL": url, "REDIS_TIMEOUT_SECONDS": "30"}))
    try:
        async with asyncio.timeout(5):
            report = await QueueProbe(shard_map).report()
        assert report.missing == ["ASIA", "EU", "NA", "GLOBAL"]
        assert report.queues == []
    finally:
        await shard_map.close()
        server.close()


async def test_a_report_is_one_round_trip(environ: dict[str, str]) -> None:
    async with proxy(environ["REDIS_URL"]) as between:
        shard_map = ShardMap.open(load(TopologySettings, {**environ, "REDIS_URL": between.url}))
        try:
            await QueueProbe(shard_map).report()  # loads the script
            between.hold()
            reporting = asyncio.create_task(QueueProbe(shard_map).report())

            async def all_asked() -> bool:
                return between.held_bytes.count(b"EVALSHA") == 4

            await eventually(all_asked, "every region's queue asked for before any answer")
            between.release()
            assert (await reporting).missing == []
        finally:
            await shard_map.close()
