"""Redis away, empty, old or hanging, and Postgres away: what players see, and that it mends itself."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from leaderboard_core.errors import WarmingUp
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.breaker import FAILURES, PAUSES
from leaderboard_core.redis.server_settings import warnings_of
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.support.own_redis import OwnRedis
from tests.support.proxy import Proxy
from tests.support.service import REGIONS, Api, running_service
from tests.support.waiting import eventually
from tests.support.worker import EAGER, working
from worker_service.recovery.rebuild import rebuild

PLAYERS = {
    # user_id: (region, score): ties within and across regions, and bytes above ASCII
    "ann": ("ASIA", 50),
    "bob": ("EU", 50),
    "cyd": ("NA", 50),
    "δελτα": ("ASIA", 30),
    "eve": ("GLOBAL", 30),
    "フロー": ("EU", 10),
    "gus": ("NA", -5),
}
LIST = [*PLAYERS, "nobody", "ann"]
READS = [
    *(f"/top?region={region}&limit=2&cursor=" for region in REGIONS),
    *(
        f"/range?region={region}&limit=2&{bounds}&cursor="
        for region in REGIONS
        for bounds in ("min=30", "max=49", "min=-5&max=50", "from=2", "to=1", "from=4&to=6", "from=5&to=5", "from=99")
    ),
    *(f"/ranks?region={region}" for region in REGIONS),
    *(f"/top?region={region}&limit=3&offset={offset}" for region in REGIONS for offset in (0, 1, 5)),
    *(f"/rank/{user_id}?region={region}" for user_id in PLAYERS for region in ("GLOBAL", PLAYERS[user_id][0])),
    *(f"/around/{user_id}?range={reach}" for user_id in PLAYERS for reach in (1, 2, 10)),
    "/rank/ann?region=EU",
    "/rank/nobody",
]


@pytest.fixture
def own_environ(environ: dict[str, str], own_redis: OwnRedis) -> dict[str, str]:
    return {**environ, "REDIS_URL": own_redis.url, "REDIS_TIMEOUT_SECONDS": "1", "WORKER_TIMEOUT_SECONDS": "2"}


@pytest.fixture
async def service(own_environ: dict[str, str], databases: RegionDatabases) -> AsyncIterator[Api]:
    """A service on the test's own Redis, with PLAYERS on the boards and in Postgres."""
    await admit(own_environ, databases)
    async with running_service(own_environ) as api:
        async with working(own_environ):
            for user_id, (region, score) in PLAYERS.items():
                await api.register(user_id, region, score)
            await saved(databases, len(PLAYERS))
        yield api


async def admit(environ: dict[str, str], databases: RegionDatabases) -> int:
    """What a worker does when it sees a Redis in a new life."""
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        return await rebuild(shard_map.shards[0], databases, EAGER)
    finally:
        await shard_map.close()


async def saved(databases: RegionDatabases, players: int) -> None:
    async def count() -> bool:
        counts = [await databases[region].fetchval("SELECT count(*) FROM leaderboard") for region in REGIONS]
        return bool(sum(counts) == players)

    await eventually(count, f"{players} players in Postgres")


async def all_reads(api: Api) -> tuple[dict[str, Any], set[str | None]]:
    """Every answer, and the sources that the successful ones name."""
    answers, sources = {}, set()
    for path in READS:
        for page, response in enumerate(await responses_of(api, path)):
            answers[f"{path} {page}"] = (response.status_code, response.json())
            if response.status_code == 200:
                sources.add(response.headers.get("x-leaderboard-source"))
    return answers, sources


async def responses_of(api: Api, path: str) -> list[httpx.Response]:
    """The answer of a read; of one that has cursors, all pages."""
    if path.startswith("/ranks?"):
        return [await api.post("/ranks", {"region": path.rpartition("=")[2], "user_ids": LIST})]
    if not path.endswith("&cursor="):
        return [await api.get(path)]
    pages = [await api.get(path.removesuffix("&cursor="))]
    while (cursor := pages[-1].json().get("next_cursor")) is not None:
        pages.append(await api.get(path + cursor))
    return pages


def refusal(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    assert body["error"] == code
    assert int(response.headers["retry-after"]) >= 1
    assert body["retry_after"] > 0
    return body


async def test_redis_away_reads_are_the_same_from_postgres_and_writes_wait(
    service: Api, own_redis: OwnRedis, own_environ: dict[str, str], databases: RegionDatabases
) -> None:
    token = service.player_token("ann")
    before, sources = await all_reads(service)
    assert sources == {"redis"}

    own_redis.stop()
    assert await all_reads(service) == (before, {"postgres"})
    refusal(await service.post("/score/add", {"delta": 1}, token=token), 503, "unavailable")
    refusal(await service.try_register("new"), 503, "unavailable")
    health = await service.get("/health")
    assert health.status_code == 503
    assert health.json()["redis"][0]["ok"] is False

    own_redis.start()
    # Redis is back with all its data; nobody has compared it with Postgres yet.
    await eventually(lambda: answers_with(service, token, "warming_up"), "the end of the breaker's pause")
    assert await all_reads(service) == (before, {"postgres"})
    async with working(own_environ, heartbeats=True):
        await eventually(lambda: source_is(service, "redis"), "reads from Redis")
    assert await all_reads(service) == (before, {"redis"})
    assert (await service.post("/score/add", {"delta": 1}, token=token)).status_code == 200


async def answers_with(api: Api, token: str, code: str) -> bool:
    return bool((await api.post("/score/add", {"delta": 0}, token=token)).json().get("error") == code)


async def source_is(api: Api, source: str) -> bool:
    return bool((await api.get("/top")).headers.get("x-leaderboard-source") == source)


async def test_a_redis_that_lost_its_data_is_never_a_partial_board(
    service: Api, own_redis: OwnRedis, own_environ: dict[str, str], databases: RegionDatabases
) -> None:
    token = service.player_token("ann")
    before, _ = await all_reads(service)
    own_redis.stop()
    own_redis.lose_data()
    own_redis.start()

    await eventually(lambda: answers_with(service, token, "warming_up"), "the end of the breaker's pause")
    refusal(await service.post("/score/update", {"score": 1}, token=token), 503, "warming_up")
    assert await all_reads(service) == (before, {"postgres"})
    with own_redis.client() as client:
        assert client.dbsize() == 0

    assert await admit(own_environ, databases) == len(PLAYERS)
    assert await all_reads(service) == (before, {"redis"})


async def test_a_redis_emptied_while_it_runs_is_noticed(
    service: Api, own_redis: OwnRedis, own_environ: dict[str, str]
) -> None:
    before, _ = await all_reads(service)
    with own_redis.client() as client:
        client.flushall()
    refusal(await service.post("/score/add", {"delta": 1}, token=service.player_token("ann")), 503, "warming_up")
    assert await all_reads(service) == (before, {"postgres"})
    async with working(own_environ, heartbeats=True):
        await eventually(lambda: source_is(service, "redis"), "reads from Redis")
    assert await all_reads(service) == (before, {"redis"})


async def test_rows_that_are_newer_in_postgres_win_over_an_old_redis(
    service: Api, own_redis: OwnRedis, own_environ: dict[str, str], databases: RegionDatabases, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    own_redis.stop()
    own_redis.copy_data(backup)
    own_redis.start()
    await eventually(lambda: admitted(own_environ, databases), "Redis")
    token = service.player_token("ann")
    await eventually(lambda: source_is(service, "redis"), "reads from Redis")
    async with working(own_environ):
        assert (await service.post("/score/update", {"score": 1000}, token=token)).status_code == 200
        assert (await service.try_register("late", "EU", 77)).status_code == 201
        await saved(databases, len(PLAYERS) + 1)
        await eventually(
            lambda: databases["ASIA"].fetchval("SELECT score = 1000 FROM leaderboard WHERE user_id = 'ann'"), "the row"
        )
    current, _ = await all_reads(service)

    own_redis.stop()
    own_redis.restore(backup)
    own_redis.start()
    with own_redis.client() as client:
        assert client.zscore("leaderboard:GLOBAL", "ann") == 50
    # The old score is neither read nor added to before a worker has looked.
    await eventually(lambda: answers_with(service, token, "warming_up"), "the end of the breaker's pause")
    assert await all_reads(service) == (current, {"postgres"})
    await admit(own_environ, databases)
    assert await all_reads(service) == (current, {"redis"})
    assert (await service.post("/score/add", {"delta": 1}, token=token)).json()["score"] == 1001


async def admitted(environ: dict[str, str], databases: RegionDatabases) -> bool:
    await admit(environ, databases)
    return True


async def test_what_is_newer_in_redis_is_not_overwritten(
    service: Api, own_redis: OwnRedis, own_environ: dict[str, str], databases: RegionDatabases
) -> None:
    # No worker runs: Redis is ahead of Postgres, and is then restarted.
    token = service.player_token("ann")
    assert (await service.post("/score/update", {"score": 99}, token=token)).status_code == 200
    own_redis.stop()
    own_redis.start()
    await admit(own_environ, databases)
    await eventually(lambda: source_is(service, "redis"), "reads from Redis")
    assert (await service.get("/rank/ann")).json()["score"] == 99


async def test_a_rebuild_is_one_at_a_time_and_starts_again_after_a_death(
    service: Api, own_redis: OwnRedis, own_environ: dict[str, str], databases: RegionDatabases
) -> None:
    with own_redis.client() as client:
        client.flushall()
        client.set("shard:rebuild", "a process that died", px=400)
    async with working(own_environ, "a", heartbeats=True), working(own_environ, "b", heartbeats=True):
        assert await source_is(service, "postgres")
        await eventually(lambda: source_is(service, "redis"), "reads from Redis")
    with own_redis.client() as client:
        assert client.zcard("leaderboard:GLOBAL") == len(PLAYERS)
        assert client.get("shard:rebuild") != "a process that died"


async def test_a_hanging_redis_makes_nobody_wait_in_line(
    service: Api, own_redis: OwnRedis, own_environ: dict[str, str]
) -> None:
    shard = service.services.shard_map.shards[0]
    token = service.player_token("ann")
    own_redis.signal(signal.SIGSTOP)
    try:
        for _ in range(FAILURES):
            responses = await asyncio.gather(
                *(service.post("/score/add", {"delta": 1}, token=token) for _ in range(8)),
                *(service.get("/top") for _ in range(8)),
            )
            assert {response.status_code for response in responses} == {503, 200}
        assert shard.breaker.is_open
        # An open breaker refuses at once: far more calls than could each wait for the time-out of one second.
        started = time.monotonic()
        for _ in range(50):
            refusal(await service.post("/score/add", {"delta": 1}, token=token), 503, "unavailable")
        assert time.monotonic() - started < 25
        assert (await service.get("/health")).status_code == 503
    finally:
        own_redis.signal(signal.SIGCONT)
    # It is the same life of Redis: no worker is needed.
    seconds = PAUSES.most + 5
    await eventually(lambda: source_is(service, "redis"), "the breaker's end", seconds=seconds)


async def test_postgres_away_scores_go_on_until_the_queue_is_full(
    own_environ: dict[str, str], databases: RegionDatabases
) -> None:
    await admit(own_environ, databases)
    proxies = {region: Proxy(own_environ[f"DATABASE_URL_{region}"]) for region in REGIONS}
    for proxy in proxies.values():
        await proxy.open()
    cut = {f"DATABASE_URL_{region}": proxy.url for region, proxy in proxies.items()}
    environ = {**own_environ, **cut, "QUEUE_REJECT_LENGTH": "5", "POSTGRES_TIMEOUT_SECONDS": "2"}
    async with running_service(environ) as api:
        for proxy in proxies.values():
            await proxy.cut()
        token = await api.register("ann", "ASIA", 0)
        refusal(await api.try_register("locked", password="a long password"), 503, "unavailable")
        assert (await api.get("/rank/locked")).status_code == 404
        assert (await api.login("ann")).status_code == 200
        async with working(environ):
            scores = []
            while True:
                response = await api.post("/score/add", {"delta": 1}, token=token)
                if response.status_code == 429:
                    break
                scores.append(response.json()["score"])
            body = refusal(response, 429, "queue_full")
            assert body["queue_length"] >= 5
            assert scores == list(range(1, len(scores) + 1))
            assert (await api.get("/rank/ann")).json()["score"] == scores[-1]
            assert (await api.get("/health")).status_code == 200
            for proxy in proxies.values():
                await proxy.open()
            await eventually(
                lambda: databases["ASIA"].fetchval("SELECT score = $1 FROM leaderboard", scores[-1]), "the drained row"
            )
            await eventually(lambda: accepted(api, token), "writes after the queue has drained")
    for proxy in proxies.values():
        await proxy.cut()


async def accepted(api: Api, token: str) -> bool:
    return (await api.post("/score/add", {"delta": 1}, token=token)).status_code == 200


async def test_with_both_away_everything_is_a_clear_503(
    own_redis: OwnRedis, own_environ: dict[str, str], databases: RegionDatabases
) -> None:
    nowhere = {f"DATABASE_URL_{region}": "postgresql://x@127.0.0.1:1/x" for region in REGIONS}
    async with running_service({**own_environ, **nowhere}) as api:
        own_redis.stop()
        for path in ("/top", "/rank/ann", "/around/ann", "/range?min=1", "/range?from=1"):
            refusal(await api.get(path), 503, "unavailable")
        refusal(await api.post("/ranks", {"user_ids": ["ann"]}), 503, "unavailable")
        refusal(await api.login("ann"), 503, "unavailable")


async def test_a_region_that_moves_is_built_there_and_forgotten_here(
    service: Api, own_environ: dict[str, str], databases: RegionDatabases, tmp_path: Path
) -> None:
    before, _ = await all_reads(service)
    other = OwnRedis(tmp_path / "other")
    other.start()
    try:
        moved = {**own_environ, "REDIS_URL_EU": other.url}
        shard_map = ShardMap.open(load(TopologySettings, moved))
        home, new = shard_map.shards
        with pytest.raises(WarmingUp):
            await home.run(
                "read_top",
                (home.keys.admission, home.keys.board("GLOBAL"), home.keys.definition("main")),
                ("user:", 0, 10),
            )
        assert await rebuild(home, databases, EAGER) == len(PLAYERS) - 2
        assert await rebuild(new, databases, EAGER) == 2
        await shard_map.close()
        async with running_service(moved) as api:
            assert await all_reads(api) == (before, {"redis"})
            assert (await api.try_register("bob", "ASIA")).status_code == 409
    finally:
        other.stop()


async def test_at_maxmemory_writes_wait_and_the_queue_still_drains(
    service: Api, own_redis: OwnRedis, own_environ: dict[str, str], databases: RegionDatabases
) -> None:
    token = service.player_token("ann")
    for score in range(20):
        assert (await service.post("/score/update", {"score": score}, token=token)).status_code == 200
    with own_redis.client() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) // 2)
        try:
            refusal(await service.post("/score/update", {"score": 99}, token=token), 503, "unavailable")
            assert (await service.get("/rank/ann")).json()["score"] == 19
            async with working(own_environ, heartbeats=True):
                await eventually(
                    lambda: databases["ASIA"].fetchval("SELECT score = 19 FROM leaderboard WHERE user_id = 'ann'"),
                    "the queue draining without memory",
                )
            (warning,) = await warnings_of(service.services.shard_map.shards[0])
            assert "maxmemory" in warning
        finally:
            client.config_set("maxmemory", 0)
    await eventually(lambda: accepted(service, token), "writes with memory again")
