"""What the processes show at /metrics is what is so: queues, stores, workers, rebuilds, refusals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import redis.asyncio as redis
from prometheus_client.parser import text_string_to_metric_families

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.breaker import FAILURES
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import ProcessSettings, TopologySettings, load
from tests.conftest import Start
from tests.support.waiting import eventually
from tests.support.worker import drained, event, push, working
from worker_service.app import create_app
from worker_service.health import WorkerHealth


class Page:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self._samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def get(self, name: str, **labels: str) -> float | None:
        return self._samples.get((name, *sorted(labels.items())))


async def scrape(client: httpx.AsyncClient) -> Page:
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return Page(response.text)


@asynccontextmanager
async def worker_pages(environ: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP side of a worker that was started this moment, and consumes nothing."""
    topology = load(TopologySettings, environ)
    shard_map, databases = ShardMap.open(topology), await RegionDatabases.open(topology)
    app = create_app(load(ProcessSettings, {}), WorkerHealth("w", shard_map, databases, asyncio.Event()))
    transport = httpx.ASGITransport(app=app)
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://worker") as client,
        ):
            yield client
    finally:
        await shard_map.close()
        await databases.close()


async def test_a_worker_that_has_just_started_shows_the_queues_as_they_are(
    environ: dict[str, str], redis_1: redis.Redis, databases: RegionDatabases
) -> None:
    now = int(time.time() * 1_000_000)
    await push(redis_1, event(timestamp=now - 40_000_000), event(timestamp=now))
    await redis_1.zadd("workers", {"w1": now, "gone": now - 3_600_000_000})
    await redis_1.lpush("queue:scores:EU:processing:w1", event(timestamp=now - 60_000_000))
    await redis_1.lpush("queue:scores:NA:dead", "x", "y")
    async with worker_pages(environ) as client:
        page = await scrape(client)
    assert page.get("leaderboard_queue_length", region="EU") == 2
    assert page.get("leaderboard_queue_processing_length", region="EU") == 1
    assert page.get("leaderboard_queue_dead_letters", region="NA") == 2
    assert 60 <= (page.get("leaderboard_worker_lag_seconds", region="EU") or 0) < 70
    assert page.get("leaderboard_worker_lag_seconds", region="ASIA") == 0
    assert page.get("leaderboard_workers_alive") == 1
    shard = environ["REDIS_URL"]
    assert page.get("leaderboard_redis_up", shard=shard) == 1
    assert page.get("leaderboard_redis_ready", shard=shard) == 0, "nobody has rebuilt it yet"
    assert page.get("leaderboard_redis_breaker_open", shard=shard) == 0
    assert page.get("leaderboard_postgres_up", region="EU") == 1


async def test_what_cannot_be_looked_up_is_left_out(start: Start, redis_1: redis.Redis) -> None:
    away = "redis://127.0.0.1:1/0"
    api = await start(ready=False, REDIS_URL_EU=away, DATABASE_URL_NA="postgresql://nobody@127.0.0.1:1/x")
    for _ in range(FAILURES):
        assert (await api.get("/rank/alice", region="EU")).status_code == 404
    page = await scrape(api.http)
    assert page.get("leaderboard_redis_up", shard=away) == 0
    assert page.get("leaderboard_redis_ready", shard=away) == 0
    assert page.get("leaderboard_redis_breaker_open", shard=away) == 1
    assert page.get("leaderboard_postgres_up", region="NA") == 0
    assert page.get("leaderboard_postgres_up", region="EU") == 1
    assert page.get("leaderboard_queue_length", region="EU") is None
    assert page.get("leaderboard_queue_length", region="NA") == 0


async def test_refusals_logins_and_the_source_of_reads_are_counted(start: Start, redis_1: redis.Redis) -> None:
    api = await start(USER_RATE_LIMIT_COUNT=1, USER_RATE_LIMIT_WINDOW=100, LOGIN_RATE_LIMIT_COUNT=1)
    before = await scrape(api.http)
    token = await api.register("alice", "EU", 1)
    assert [(await api.post("/score/add", {"delta": 1}, token=token)).status_code for _ in range(3)] == [200, 429, 429]
    assert (await api.login("alice")).status_code == 200
    assert [(await api.login("alice", name="Eve")).status_code for _ in range(2)] == [401, 429]
    await api.top("EU")
    after = await scrape(api.http)

    def grown(name: str, **labels: str) -> float:
        return (after.get(name, **labels) or 0) - (before.get(name, **labels) or 0)

    assert grown("leaderboard_score_writes_total", board="main", outcome="ok") == 2
    assert grown("leaderboard_score_writes_total", board="main", outcome="rate_limited") == 2
    assert grown("leaderboard_logins_total", outcome="ok") == 1
    assert grown("leaderboard_logins_total", outcome="invalid_credentials") == 1
    assert grown("leaderboard_logins_total", outcome="rate_limited") == 1
    assert grown("leaderboard_reads_total", board="main", source="redis") == 1
    assert grown("leaderboard_http_requests_total", route="/score/add", method="POST", status="429") == 2
    assert grown("leaderboard_http_request_seconds_count", route="/score/add") == 3


async def test_boards_are_counted_apart_where_they_are_named(start: Start) -> None:
    api = await start(METRICS_BOARDS="kills, laps")
    for board in ("kills", "coins"):
        assert (await api.define({}, board)).status_code == 201
    before = await scrape(api.http)
    assert before.get("leaderboard_reads_total", board="laps", source="postgres") == 0, "from zero on"
    server = api.server_token()
    for board in ("kills", "coins", "main"):
        body = {"user_id": "alice", "region": "EU", "board": board, "score": 1}
        assert (await api.post("/score", body, token=server)).status_code < 300
        assert (await api.get("/top", region="EU", board=board)).status_code == 200
    await api.post("/scores", {"scores": [{**body, "board": "kills"}, {**body, "board": "coins"}]}, token=server)
    after = await scrape(api.http)

    def grown(name: str, **labels: str) -> float:
        return (after.get(name, **labels) or 0) - (before.get(name, **labels) or 0)

    writes, reads = "leaderboard_score_writes_total", "leaderboard_reads_total"
    assert [grown(writes, board=board, outcome="ok") for board in ("kills", "other")] == [1, 2]
    assert [grown(writes, board=board, outcome="unchanged") for board in ("kills", "other")] == [1, 1]
    assert [grown(reads, board=board, source="redis") for board in ("kills", "other")] == [1, 2]
    assert after.get(reads, board="main", source="redis") in (None, before.get(reads, board="main", source="redis"))


async def test_batches_rebuilds_and_reclaimed_events_are_counted(
    environ: dict[str, str], redis_1: redis.Redis, databases: RegionDatabases
) -> None:
    await databases["EU"].execute(
        "INSERT INTO leaderboard SELECT 'p' || n, 'p', 'EU', n, now() FROM generate_series(1, 30) AS n"
    )
    await databases["EU"].execute("ANALYZE leaderboard")
    await push(redis_1, event("bob", timestamp=1), event("bob", timestamp=2), "no event")
    # A worker that is stale since an hour ago left two events behind.
    await redis_1.zadd("workers", {"stale": int((time.time() - 3600) * 1_000_000)})
    await redis_1.lpush("queue:scores:NA:processing:stale", event("n1", region="NA"), event("n2", region="NA"))
    shard = {"shard": environ["REDIS_URL"]}
    async with worker_pages(environ) as client:
        before = await scrape(client)
        async with working(environ, heartbeats=True):
            await drained(redis_1)

            async def rebuilt() -> bool:
                page = await scrape(client)
                done = page.get("leaderboard_rebuilds_total", outcome="complete", **shard)
                earlier = before.get("leaderboard_rebuilds_total", outcome="complete", **shard)
                return (done or 0) > (earlier or 0) and page.get("leaderboard_rebuild_running", **shard) == 0

            await eventually(rebuilt, "the end of the rebuild")
        after = await scrape(client)

    def grown(name: str, **labels: str) -> float:
        return (after.get(name, **labels) or 0) - (before.get(name, **labels) or 0)

    assert after.get("leaderboard_rebuild_players", region="EU") in (30, 31), "bob may have been saved before it"
    assert after.get("leaderboard_rebuild_expected_players", region="EU") == 30
    assert grown("leaderboard_worker_events_taken_over_total", region="NA") == 2
    assert grown("leaderboard_worker_events_total", region="EU", outcome="saved") == 1
    assert grown("leaderboard_worker_events_total", region="EU", outcome="superseded") == 1
    assert grown("leaderboard_worker_events_total", region="EU", outcome="dead") == 1
    assert grown("leaderboard_worker_batch_size_sum", region="EU") == 3
    assert grown("leaderboard_worker_upsert_seconds_count", region="EU") >= 1
