"""Test `leaderboard repartition` beside services and workers: nothing is lost, and it can be killed anywhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

import asyncpg
import pytest
import redis.asyncio as redis

from leaderboard_cli.backup import boards
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.fencing import Fence, set_nonce
from leaderboard_core.postgres.layouts import read_repartition
from leaderboard_core.redis.layout import LayoutChanged
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.acceptance.cluster import REPOSITORY, clean_environment
from tests.conftest import Start, TestDatabases
from tests.support.command import run_here, verified
from tests.support.infrastructure import Infrastructure
from tests.support.layouts import Layout
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import EAGER, drained, event, push, rows, working
from worker_service.recovery.restore import RebuildInterrupted
from worker_service.saving.consumer import Consumer, Taken
from worker_service.services import build

PASSWORD = "correct horse battery"
REGIONS = ("EU", "ASIA", "GLOBAL")
PLAYERS = {f"player-{number}": (REGIONS[number % 3], number) for number in range(30)}


async def registered(api: Api) -> dict[str, str]:
    """Players of three regions, one with a password, and one who was deleted; returns tokens."""
    tokens = {
        user_id: await api.register(user_id, region, score, password=PASSWORD if user_id == "player-7" else None)
        for user_id, (region, score) in PLAYERS.items()
    }
    await api.register("gone", "EU", 99)
    await api.delete("gone", api.server_token())
    return tokens


async def repartition(environ: dict[str, str], *words: str) -> str:
    code, output, complaint = await run_here(environ, "repartition", *words, "--yes")
    assert code == 0, output + complaint
    return output


async def refused(environ: dict[str, str], *words: str) -> str:
    code, output, complaint = await run_here(environ, "repartition", *words)
    assert code == 1, output
    assert "Traceback" not in complaint
    return complaint


async def spread(*clients: redis.Redis) -> None:
    """Check that each Redis has its players, and nobody else's."""
    for index, client in enumerate(clients):
        found = {key.removeprefix("user:") async for key in client.scan_iter("user:*")}
        assert found == {user_id for user_id in PLAYERS if crc32(user_id.encode()) % len(clients) == index}


async def test_from_one_to_two_and_back(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    """Without a worker: what waits is saved by the command. Services that are not started anew write nothing."""
    before = await start()
    tokens = await registered(before)
    first = await before.post("/score/add", {"delta": 5}, token=tokens["player-3"], key="once")
    said = await repartition(layouts["one-redis"], ",".join(infra.redis_urls))
    assert "Set REDIS_URL to the new value" in said
    expected = {user_id: score for user_id, (_, score) in PLAYERS.items()} | {"player-3": 8}
    assert await before.scores() == expected
    stale = await before.post("/score/add", {"delta": 1}, token=tokens["player-1"])
    assert (stale.status_code, stale.json()["error"]) == (503, "warming_up")
    await spread(redis_1, redis_2)
    await verified(layouts["two-partitions"])

    two = await start(layout="two-partitions")
    assert await two.scores() == expected
    repeated = await two.post("/score/add", {"delta": 5}, token=tokens["player-3"], key="once")
    assert repeated.json() == {**first.json(), "previous": None, "improved": None}, "as the row has it"
    assert (await two.login("player-7", password=PASSWORD)).status_code == 200
    assert (await two.post("/score/add", {"delta": 1}, token=tokens["player-1"])).status_code == 200
    async with working(layouts["two-partitions"], heartbeats=True):
        await drained(redis_1, redis_2)
    await two.post("/score/add", {"delta": 1}, token=tokens["player-2"])
    await repartition(layouts["two-partitions"], infra.redis_urls[1])
    expected |= {"player-1": 2, "player-2": 3}
    assert [key async for key in redis_1.scan_iter()] == ["shard:layout"]
    await spread(redis_2)
    again = await start(REDIS_URL=infra.redis_urls[1])
    assert await again.scores() == expected
    await verified({**layouts["one-redis"], "REDIS_URL": infra.redis_urls[1]})


async def test_boards_and_their_entries_move_along(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    before = await start()
    tokens = await registered(before)
    for name, rules in (
        ("coins", {"operator": "sum", "ties": "earliest", "regions": False}),
        ("kills", {}),
        ("old", {}),
    ):
        assert (await before.define(rules, name)).status_code == 201
    for number, token in enumerate(tokens.values()):
        for name in ("coins", "kills", "old"):
            body = {"delta": number % 7 + 1, "board": name}
            assert (await before.post("/score/add", body, token=token)).status_code == 200
    headers = {"Authorization": f"Bearer {before.admin_token()}"}
    assert (await before.http.delete("/boards/old", headers=headers)).status_code == 200

    async def rankings(api: Api) -> list[Any]:
        places = [("coins", "GLOBAL"), ("kills", "GLOBAL"), *(("kills", region) for region in REGIONS)]
        return [(await api.get("/top", board=board, region=region)).json() for board, region in places]

    expected = await rankings(before)
    assert [len(page["rows"]) for page in expected] == [30, 30, 10, 10, 30]
    await repartition(layouts["one-redis"], ",".join(infra.redis_urls))
    two = await start(layout="two-partitions")
    assert await rankings(two) == expected
    for client in (redis_1, redis_2):
        assert await client.mget("board:coins", "board:old") == ["1 1", "3 gone"]
        assert [key async for key in client.scan_iter("leaderboard:old*")] == []
    added = await two.post("/score/add", {"delta": 100, "board": "kills"}, token=tokens["player-3"])
    assert added.json()["score"] == 104
    await repartition(layouts["two-partitions"], infra.redis_urls[1])
    again = await start(REDIS_URL=infra.redis_urls[1])
    (first, *_) = (await again.get("/top", board="kills")).json()["rows"]
    assert (first["user_id"], first["score"]) == ("player-3", 104)
    assert (await rankings(again))[0] == expected[0]


async def test_meanwhile_writes_wait_and_boards_come_from_postgres(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    databases: RegionDatabases,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    """An event that Postgres refuses holds it up."""
    api = await start()
    tokens = await registered(api)
    async with working(layouts["one-redis"], heartbeats=True):
        await push(redis_1, event("poison", name="x\0y"))
        await drained(redis_1)
        said = await refused(layouts["one-redis"], ",".join(infra.redis_urls), "--yes")
        assert "1 dead letters would be lost" in said
        write = await api.post("/score/add", {"delta": 1}, token=tokens["player-1"])
        assert (write.status_code, write.json()["error"]) == (503, "repartitioning")
        assert int(write.headers["Retry-After"]) >= 1
        top = await api.get("/top", limit=5)
        assert top.headers["X-Leaderboard-Source"] == "postgres"
        assert top.json()["total"] == len(PLAYERS)
        other = await refused(layouts["one-redis"], infra.redis_urls[1], "--yes")
        assert "Another one of ASIA,EU,GLOBAL,NA to 2 Redis has begun" in other
    async with working(layouts["one-redis"], heartbeats=True):
        code, output, _ = await run_here(layouts["one-redis"], "repartition", "--abandon")
        assert (code, "called off" in output) == (0, True)

        async def writes() -> bool:
            return (await api.post("/score/add", {"delta": 1}, token=tokens["player-1"])).status_code == 200

        await eventually(writes, "an admission of the Redis as it was")
    assert await read_repartition(databases["GLOBAL"]) is None
    await redis_1.delete("queue:scores:EU:dead")


@asynccontextmanager
async def locked(test_databases: TestDatabases) -> AsyncIterator[asyncpg.Connection]:
    """Keep everybody from changing an admission of EU."""
    connection = await asyncpg.connect(test_databases.dsn("EU"))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE admissions IN SHARE MODE")
            yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def unswitched(test_databases: TestDatabases) -> AsyncIterator[None]:
    """Keep everybody from saying over how many Redis the players of EU are spread."""
    connection = await asyncpg.connect(test_databases.dsn("EU"))
    try:
        await connection.execute(
            "CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END$$"
        )
        await connection.execute(
            "CREATE TRIGGER wait_for_test BEFORE INSERT OR UPDATE ON admissions FOR EACH ROW "
            "WHEN (NEW.region LIKE '*partitions %') EXECUTE FUNCTION wait_for_test()"
        )
        await connection.execute("SELECT pg_advisory_lock(7)")
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock_all()")
        await connection.execute("DROP FUNCTION wait_for_test CASCADE")
        await connection.close()


async def killed_at(stage: str, environ: dict[str, str], urls: str, databases: RegionDatabases) -> None:
    """Run the command until its mark says `stage`, and kill it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "leaderboard_cli", "repartition", urls, "--yes"),
        cwd=REPOSITORY,
        env=clean_environment(**environ, LEADERBOARD_DATA_DIR="/nonexistent"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def reached() -> bool:
        assert process.returncode is None
        mark = await read_repartition(databases["GLOBAL"])
        return mark is not None and mark.stage == stage

    try:
        await eventually(reached, f"the stage {stage}", seconds=30)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("stage", ["drain", "switch"])
async def test_one_that_is_killed_is_gone_on_with(
    stage: str,
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    databases: RegionDatabases,
    test_databases: TestDatabases,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    api = await start()
    await registered(api)
    urls = ",".join(infra.redis_urls)
    if stage == "drain":
        async with locked(test_databases):  # so it cannot leave it
            await killed_at(stage, layouts["one-redis"], urls, databases)
    else:
        async with unswitched(test_databases):
            await killed_at(stage, layouts["one-redis"], urls, databases)
        code, _, complaint = await run_here(layouts["one-redis"], "repartition", "--abandon")
        assert (code, "are spread anew already" in complaint) == (1, True)
    for one in (redis_1, redis_2):
        await one.delete("shard:rebuild")  # the lease of who was killed, which ends by itself
    code, output, complaint = await run_here(layouts["one-redis"], "repartition", urls, "--yes")
    assert code == 0, output + complaint
    assert f"REDIS_URL={urls}" in output or "Done. Set REDIS_URL" in output
    after = await start(layout="two-partitions")
    assert await after.scores() == {user_id: score for user_id, (_, score) in PLAYERS.items()}
    await spread(redis_1, redis_2)
    await verified(layouts["two-partitions"])


async def test_one_that_was_paused_for_longer_than_its_lock_deletes_nothing(
    start: Start, layouts: dict[Layout, dict[str, str]], redis_1: redis.Redis
) -> None:
    """Another has filled the Redis since."""
    await registered(await start())
    shard_map = ShardMap.open(load(TopologySettings, layouts["one-redis"]))
    try:
        (shard,) = shard_map.shards
        before = set(await redis_1.keys("*"))
        for lock in (None, "another's"):
            if lock is not None:
                await redis_1.set(shard.keys.rebuild_lock, lock)
            with pytest.raises(RebuildInterrupted, match="was lost"):
                await boards.empty(shard, "mine", lambda _: None)
            assert set(await redis_1.keys("*")) - {shard.keys.rebuild_lock} == before
        await boards.empty(shard, "another's", lambda _: None)
        left = set(await redis_1.keys("*"))
        assert left & before <= {"workers", "workers:versions"}
        assert shard.keys.rebuild_lock in left
    finally:
        await shard_map.close()


async def test_a_worker_that_goes_on_with_the_layout_before_saves_nothing_and_ends(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    databases: RegionDatabases,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    async def go_on() -> None:
        async with working(layouts["one-redis"], heartbeats=True) as worker:
            await repartition(layouts["one-redis"], ",".join(infra.redis_urls))
            two = await start(layout="two-partitions")
            await two.post("/score", {"user_id": "player-0", "region": "EU", "score": 1000}, token=two.server_token())

            async def ended() -> bool:
                return any(task.done() for task in worker.tasks)

            await eventually(ended, "the end of the worker")

    await registered(await start())
    with pytest.raises(LayoutChanged, match=r"names 1 Redis, and the players of .* are spread over 2"):
        await go_on()
    async with working({**layouts["two-partitions"], "WORKER_TIMEOUT_SECONDS": "2"}, name="worker-2", heartbeats=True):
        await drained(redis_1, redis_2)
    row = await databases["EU"].fetchval("SELECT score FROM leaderboard WHERE user_id = 'player-0'")
    assert row == 1000
    await verified(layouts["two-partitions"])


async def test_a_worker_process_of_the_layout_before_says_why_it_ends(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    await registered(await start())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker_service"),
        env=clean_environment(**layouts["one-redis"], PORT=str(find_free_ports(1)[0])),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await drained(redis_1)
        await repartition(layouts["one-redis"], ",".join(infra.redis_urls))
        _, said = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 1
    assert b"REDIS_URL names 1 Redis, and the players of" in said
    assert b"Traceback" not in said


async def test_what_cannot_be_done_is_refused(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    first, second = infra.redis_urls
    environ = layouts["one-redis"]
    await redis_2.zadd("leaderboard:EU", {"stranger": 1})
    await start()
    assert "Name the new value" in await refused(environ)
    assert "names these Redis already" in await refused(environ, first)
    assert "There is no region XX" in await refused(environ, f"{first},{second}", "--region", "xx")
    assert "EU has no REDIS_URL_EU" in await refused(environ, f"{first},{second}", "--region", "EU")
    assert "holds players, and is none of this system's" in await refused(environ, f"{first},{second}", "--yes")
    assert "would share Redis with another variable" in await refused(layouts["two-redis"], second, "--yes")
    await redis_1.delete("shard:admission")
    assert "is not ready" in await refused(environ, f"{first},{second}", "--yes")


async def test_a_worker_that_wakes_with_a_batch_from_before_writes_nothing_over(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    databases: RegionDatabases,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    """Another one has saved that batch, and later writes; then the players were spread anew."""
    api = await start()
    tokens = await registered(api)
    own, played = layouts["one-redis"], ("player-0", "player-3", "player-6", "player-9", "player-12")
    async with working(own):
        await drained(redis_1)
    async with paused_with_a_batch(own, api, [tokens[user_id] for user_id in played]) as (consumer, taken):
        await redis_1.zadd("workers", {"paused": 1})
        async with working(own, heartbeats=True):
            await drained(redis_1)
            for user_id in played:
                assert (await api.post("/score/add", {"delta": 1000}, token=tokens[user_id])).status_code == 200
            await drained(redis_1)
        before = await rows(databases)
        await repartition(own, ",".join(infra.redis_urls))
        await consumer._save(taken)
        with pytest.raises(LayoutChanged):
            await consumer.run()
    two = await start(layout="two-partitions")
    async with working(layouts["two-partitions"]):
        await drained(redis_1, redis_2)
    assert await rows(databases) == before
    assert {user_id: score for user_id, score in (await two.scores()).items() if user_id in played} == {
        user_id: PLAYERS[user_id][1] + 1001 for user_id in played
    }
    await verified(layouts["two-partitions"])


@asynccontextmanager
async def paused_with_a_batch(
    environ: dict[str, str], api: Api, tokens: list[str]
) -> AsyncIterator[tuple[Consumer, Taken]]:
    """A worker that has taken an add of each of these players of EU, and does nothing."""
    topology = load(TopologySettings, environ)
    shard_map, own = ShardMap.open(topology), await RegionDatabases.open(topology)
    try:
        worker = build("paused", topology, EAGER, shard_map, own, asyncio.Event(), block_seconds=0.1)
        (consumer,) = [one for one in worker.consumers if one.region == "EU"]
        for token in tokens:
            assert (await api.post("/score/add", {"delta": 1}, token=token)).status_code == 200
        yield consumer, await consumer._take()
    finally:
        await shard_map.close()
        await own.close()


async def test_a_worker_that_wakes_beside_an_empty_redis_writes_nothing_over(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    """The same without a repartition: the new admission has begun, and has restored nothing yet."""
    api = await start()
    token = await api.register("alice", "EU", 1)
    async with paused_with_a_batch(environ, api, [token]) as (consumer, taken):
        await redis_1.zadd("workers", {"paused": 1})
        async with working(environ, heartbeats=True):
            await drained(redis_1)
            assert (await api.post("/score/add", {"delta": 1000}, token=token)).status_code == 200
            await drained(redis_1)
        await redis_1.flushall()
        await set_nonce(databases["EU"], Fence("EU", "begun"))
        await consumer._save(taken)
        await consumer._return_events()
    async with working(environ):
        await drained(redis_1)
    assert (await rows(databases))["alice"][1] == 1002


async def test_after_an_early_end_in_the_drain_it_goes_on(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    await registered(await start())
    async with working(layouts["one-redis"], heartbeats=True):
        await push(redis_1, event("poison", name="x\0y"))
        await drained(redis_1)
        assert "dead letters" in await refused(layouts["one-redis"], ",".join(infra.redis_urls), "--yes")
    await redis_1.delete("queue:scores:EU:dead")
    await repartition(layouts["one-redis"], ",".join(infra.redis_urls))
    await spread(redis_1, redis_2)
    await verified(layouts["two-partitions"])


async def test_the_redis_of_other_regions_is_not_taken(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    """Neither under its name, nor under another one."""
    first, second = infra.redis_urls
    third = first.removesuffix("/0") + "/1"
    environ = {**layouts["one-redis"], "REDIS_URL": f"{first},{second}", "REDIS_URL_EU": third}
    async with redis.Redis.from_url(third, decode_responses=True) as redis_3:
        await redis_3.flushdb()
        api = await start(**environ)
        await registered(api)
        assert "is the Redis of other regions" in await refused(environ, f"{third},{second}", "--region", "EU", "--yes")
        alias = second.replace("127.0.0.1", "localhost")
        assert "holds players" in await refused(environ, f"{third},{alias}", "--region", "EU", "--yes")
        assert await api.scores() == {user_id: score for user_id, (_, score) in PLAYERS.items()}
        with pytest.raises(LayoutChanged, match="is the same Redis as"):
            await run_here({**environ, "REDIS_URL_EU": f"{alias},{third}"}, "verify")
        await redis_3.flushdb()


async def test_to_another_redis_of_the_same_number(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    infra: Infrastructure,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    """A worker and a service of the old settings that go on do not fill the one that was left again."""
    old = await start()
    tokens = await registered(old)
    async with working(layouts["one-redis"], heartbeats=True):
        await drained(redis_1)
        await repartition(layouts["one-redis"], infra.redis_urls[1])
        new = await start(REDIS_URL=infra.redis_urls[1])
        assert (await new.post("/score/add", {"delta": 7}, token=tokens["player-3"])).json()["score"] == 10

        async def looked_again() -> bool:
            return await redis_1.zcard("workers") > 0

        await eventually(looked_again, "another heartbeat of the old worker")
        stale = await old.post("/score/add", {"delta": 100}, token=tokens["player-3"])
        assert (stale.status_code, stale.json()["error"]) == (503, "warming_up")
    assert await redis_1.exists("leaderboard:EU") == 0
    code, _, complaint = await run_here(layouts["one-redis"], "repartition", infra.redis_urls[0], "--yes")
    assert (code, "names these Redis already" in complaint) == (1, True)
