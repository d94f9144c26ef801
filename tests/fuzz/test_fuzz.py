"""A part of `make fuzz`: gateway and service understand a few hundred byte streams as uvicorn's own protocols do."""

from __future__ import annotations

import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from tests.conftest import admit
from tests.fuzz.run import fuzz
from tests.fuzz.servers import trios

STREAMS = 400


async def test_random_streams(environ: dict[str, str], redis_1: redis.Redis, databases: RegionDatabases) -> None:
    await admit(environ, databases)
    async with trios(environ) as both:
        report = await fuzz(both, "leaderboard", range(STREAMS))
    assert not report.faults, "\n".join(report.faults)
    assert report.streams == STREAMS
    assert report.answers > STREAMS
    assert all(report.written.values()), "scores were written"
