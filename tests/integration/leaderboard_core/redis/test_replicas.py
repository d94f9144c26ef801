"""REDIS_WAIT_REPLICAS against real servers: what is answered is on replicas, and nothing else waits for them."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx
import pytest
import redis

from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.acknowledging import check_waits
from leaderboard_core.redis.commands import refusals
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import SettingsError, TopologySettings, load
from tests.conftest import admit
from tests.support.own_redis import OwnRedis
from tests.support.proxy import proxy
from tests.support.replication import client_of, follow, promote
from tests.support.service import Api, running_service
from tests.support.waiting import eventually
from tests.support.worker import rows, working

TIMEOUT = 1.0
IN_TIME = TIMEOUT + 0.5
"""Of a write that too few replicas have: it may stand behind another one, and the machine may be busy."""


@dataclass
class Replicated:
    """A primary, its replica, and the environment of services that wait for it."""

    primary: OwnRedis
    replica: OwnRedis
    environ: dict[str, str]

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Let the replica hear nothing for the length of the block."""
        self.replica.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.replica.signal(signal.SIGCONT)

    def calls_of(self, command: str) -> int:
        with self.primary.client() as client:
            return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


@pytest.fixture
async def replicated(
    environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis, tmp_path: Path
) -> AsyncIterator[Replicated]:
    second = OwnRedis(tmp_path / "second")
    second.start()
    try:
        async with client_of(second) as client:
            await follow(client, own_redis)
        own = {**environ, "REDIS_URL": own_redis.url, "REDIS_TIMEOUT_SECONDS": str(TIMEOUT)}
        await admit(own, databases)
        yield Replicated(own_redis, second, {**own, "REDIS_WAIT_REPLICAS": "1"})
    finally:
        second.stop()


def assert_unconfirmed(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.json()["error"] == "unavailable"
    assert response.json()["message"] == (
        "Too few replicas of a Redis server have the write yet. A write may have been done or not: repeat it with its "
        "Idempotency-Key."
    )


async def test_a_write_waits_for_its_replica_and_reads_do_not(replicated: Replicated) -> None:
    async with running_service(replicated.environ) as api:
        token = await api.register("alice", "EU", 10)
        async with replicated.paused():
            started = time.monotonic()
            write = asyncio.create_task(api.post("/score/add", {"delta": 5}, token=token))
            waited = await eventually(lambda: replicated.calls_of("evalsha") and not write.done())
            assert waited
            for _ in range(20):
                read = await api.get("/rank/alice")
                assert read.headers["x-leaderboard-source"] == "redis"
                assert not write.done(), "a read stood behind the write"
            assert_unconfirmed(await write)
            assert TIMEOUT / 2 <= time.monotonic() - started < IN_TIME
            behind = await asyncio.gather(*(api.post("/score/add", {"delta": 1}, token=token) for _ in range(10)))
            for response in behind:
                assert_unconfirmed(response)
            assert (await api.get("/top")).headers["x-leaderboard-source"] == "redis", "it is no failure of the server"
        assert (await api.post("/score/add", {"delta": 100}, token=token)).json()["score"] == 125


async def test_who_asks_behind_a_write_that_fails_waits_for_two(replicated: Replicated) -> None:
    async with running_service(replicated.environ) as api:
        tokens = [await api.register(f"p{number}", "EU") for number in range(6)]
        async with replicated.paused():

            async def timed(token: str) -> float:
                started = time.monotonic()
                assert_unconfirmed(await api.post("/score/add", {"delta": 1}, token=token))
                return time.monotonic() - started

            writes = []
            for token in tokens:
                writes.append(asyncio.create_task(timed(token)))
                await asyncio.sleep(0.05)  # so that each is asked in a turn of its own
            assert max(await asyncio.gather(*writes)) < 2 * TIMEOUT / 2 + 0.5


async def test_writes_of_many_callers_share_one_wait(replicated: Replicated) -> None:
    async with running_service(replicated.environ) as api:
        tokens = [await api.register(f"p{number}", "EU") for number in range(40)]
        before = replicated.calls_of("wait")
        written = await asyncio.gather(*(api.post("/score/add", {"delta": 1}, token=token) for token in tokens))
        assert {response.status_code for response in written} == {200}
        assert 1 <= replicated.calls_of("wait") - before < len(tokens) / 2


async def test_without_the_setting_nothing_waits(replicated: Replicated) -> None:
    async with running_service({**replicated.environ, "REDIS_WAIT_REPLICAS": "0"}) as api:
        (shard,) = api.services.shard_map.shards
        assert shard.writer is shard.pipeliner
        async with replicated.paused():
            token = await api.register("alice", "EU", 10)
            assert (await api.post("/score/add", {"delta": 5}, token=token)).status_code == 200
        assert replicated.calls_of("wait") == 0


Call = Callable[[Api, str], Awaitable[httpx.Response]]


async def _add(api: Api, token: str) -> httpx.Response:
    return await api.post("/score/add", {"delta": 5}, token=token, key="k")


async def _batch(api: Api, token: str) -> httpx.Response:
    body = {"scores": [{"user_id": "alice", "region": "EU", "delta": 5}]}
    return await api.post("/scores", body, token=api.server_token(), key="k")


async def _create(api: Api, token: str) -> httpx.Response:
    return await api.post("/score/create", {"region": "EU"}, token=token)


async def _delete(api: Api, token: str) -> httpx.Response:
    return await api.delete("alice", key="k")


async def _add_and_lose_the_answer(api: Api, token: str) -> httpx.Response:
    response = await _add(api, token)
    (shard,) = api.services.shard_map.shards
    await shard.command("DEL", *await shard.command("KEYS", "idempotency:*"))
    return response


async def _delete_and_make_again(api: Api, token: str) -> httpx.Response:
    response = await _delete(api, token)
    assert_unconfirmed(await api.try_register("alice", "EU", 15))
    return response


REPEATS = [
    (_add, _add),
    (_add_and_lose_the_answer, _add),
    (_add, _create),
    (_batch, _batch),
    (_delete, _delete),
    (_delete_and_make_again, _delete),
]


@pytest.mark.parametrize(("first", "again"), REPEATS)
async def test_an_answer_that_rests_on_what_another_wrote_waits_as_well(
    first: Call, again: Call, replicated: Replicated
) -> None:
    """WAIT covers what its own connection wrote: whoever answers from what is there has to write it again."""
    async with running_service(replicated.environ) as one, running_service(replicated.environ) as other:
        token = await one.register("alice", "EU", 10)

        def failed(response: httpx.Response) -> bool:
            if response.status_code == 200 and again is _batch:  # each score of a batch has its own answer
                return bool(response.json()["results"][0]["error"] == "unavailable")
            return response.status_code == 503

        async with replicated.paused():
            assert failed(await first(one, token))
            repeated = await again(other, token)
            assert failed(repeated), repeated.text

        async def answered() -> bool:
            return (await again(other, token)).status_code in (200, 201)

        await eventually(answered, "an answer once the replica has it")
        with replicated.primary.client() as client:
            assert client.hget("user:alice", "score") == (None if first is _delete else "15"), "done once"


async def test_a_server_that_becomes_a_replica_meanwhile_has_not_refused_the_write(replicated: Replicated) -> None:
    async with running_service(replicated.environ) as api:
        token = await api.register("alice", "EU", 10)
        async with replicated.paused():
            write = asyncio.create_task(api.post("/score/add", {"delta": 5}, token=token))
            with replicated.primary.client() as client:
                await eventually(lambda: int(client.info("clients")["blocked_clients"]) == 1, "a WAIT")
                client.replicaof("127.0.0.1", 1)
            response = await write
        assert response.status_code == 503
        assert response.json()["message"].startswith("A Redis server stopped being the primary. A write may have been")


async def test_health_counts_the_replicas(replicated: Replicated) -> None:
    async with running_service(replicated.environ) as api:

        async def refusal() -> str | None:
            shard = (await api.get("/health")).json()["redis"][0]
            assert shard["ok"] is ("refuses_writes" not in shard)
            return str(shard["refuses_writes"]) if "refuses_writes" in shard else None

        assert await refusal() is None
        async with replicated.paused():

            async def seen() -> bool:
                return await refusal() == "it has 0 of 1 replicas"

            await eventually(seen, "a replica that hangs")
            assert (await api.get("/status")).json()["redis"][0]["refuses_writes"] == "it has 0 of 1 replicas"

        async def well() -> bool:
            return await refusal() is None

        await eventually(well, "a healthy service")


ROUNDS = 4
EACH = 550
"""Acknowledged writes before the link is held, and so at least in each round."""


def _has_enough(ledger: Mapping[str, int]) -> bool:
    return sum(ledger.values()) >= EACH


@pytest.mark.parametrize("replicas", [1, 0])
async def test_what_was_acknowledged_survives_its_primary(
    replicas: int, environ: dict[str, str], databases: RegionDatabases, tmp_path: Path
) -> None:
    """Its link to the replica falls behind for up to 50 ms, and then it is killed; without the setting that is lost."""
    lost = acknowledged = 0
    for turn in range(ROUNDS):
        primary, second = OwnRedis(tmp_path / f"{turn}-a"), OwnRedis(tmp_path / f"{turn}-b")
        async with AsyncExitStack() as stack:
            for server in (primary, second):
                server.start()
                stack.callback(server.stop)
            own = {**environ, "REDIS_URL": primary.url, "REDIS_WAIT_REPLICAS": str(replicas)}
            link = await stack.enter_async_context(proxy(primary.url))
            replica = await stack.enter_async_context(client_of(second))
            await follow(replica, primary, through=link)
            await admit(own, databases)
            api = await stack.enter_async_context(running_service({**own, "USER_RATE_LIMIT_COUNT": "100000"}))
            ledger = {f"p{number}-{turn}": 0 for number in range(16)}
            unsure = dict.fromkeys(ledger, 0)
            tokens = {user_id: await api.register(user_id, "EU") for user_id in ledger}

            async def write(
                user_id: str,
                api: Api = api,
                ledger: dict[str, int] = ledger,
                unsure: dict[str, int] = unsure,
                tokens: dict[str, str] = tokens,
            ) -> None:
                while not unsure[user_id]:
                    response = await api.post("/score/add", {"delta": 1}, token=tokens[user_id])
                    if response.status_code == 200:
                        ledger[user_id] += 1
                    else:
                        assert response.status_code == 503, response.text
                        unsure[user_id] += 1

            writers = [asyncio.create_task(write(user_id)) for user_id in ledger]
            await eventually(partial(_has_enough, ledger), "writes", seconds=60)
            link.hold_answers()
            await asyncio.sleep(random.uniform(0.01, 0.05))
            primary.signal(signal.SIGKILL)
            await link.cut()
            await asyncio.gather(*writers)
            await promote(replica)
            acknowledged += sum(ledger.values())
            for user_id, count in ledger.items():
                score = int(await replica.hget(f"user:{user_id}", "score") or 0)
                lost += max(0, count - score)
                assert score <= count + unsure[user_id], "counted twice"
    assert acknowledged >= ROUNDS * EACH
    assert (lost > 0) is (replicas == 0), lost


async def test_what_a_failover_takes_back_is_not_in_postgres(
    replicated: Replicated, databases: RegionDatabases
) -> None:
    """Else the replica is brought up to Postgres, which knows a player's last key alone, and repeats count twice."""
    primary, second = replicated.primary, replicated.replica
    async with proxy(primary.url) as front, client_of(second) as replica, client_of(primary) as returned:
        own = {**replicated.environ, "REDIS_URL": front.url, "CLOCK_SKEW_SECONDS": "0"}
        async with running_service(own) as api, working(own, heartbeats=True):
            token = await api.register("alice", "EU", 10)

            async def saved() -> bool:
                return "alice" in await rows(databases)

            async def repeated(key: str) -> bool:
                return (await api.post("/score/add", {"delta": 5}, token=token, key=key)).status_code == 200

            await eventually(saved, "alice in Postgres")
            await replica.replicaof("127.0.0.1", 1)
            for key in ("one", "two"):
                assert_unconfirmed(await api.post("/score/add", {"delta": 5}, token=token, key=key))
            primary.signal(signal.SIGKILL)
            await promote(replica)
            front.lead_to(second.url)
            primary.stop()
            primary.start()
            await follow(returned, second)
            for key in ("one", "two"):
                await eventually(partial(repeated, key), "an answer", seconds=20)
            assert (await api.scores("EU")) == {"alice": 20}


async def _check(url: str, **settings: str) -> None:
    shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": url, "REDIS_WAIT_REPLICAS": "1", **settings}))
    try:
        await check_waits(shard_map.shards)
    finally:
        await shard_map.close()


def _has_its_file(client: redis.Redis) -> bool:
    info = client.info("persistence")
    return not (info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])


async def test_with_fsync_a_write_is_on_the_disks(replicated: Replicated) -> None:
    async with running_service({**replicated.environ, "REDIS_WAIT_FSYNC": "true"}) as api:
        with replicated.replica.client() as client:
            # Its file begins with the data that it was sent, and until that is written nothing is on its disk.
            await eventually(partial(_has_its_file, client), "the replica's file")
        token = await api.register("alice", "EU", 10)
        started = time.monotonic()
        for _ in range(5):
            assert (await api.post("/score/add", {"delta": 5}, token=token)).status_code == 200
        assert time.monotonic() - started < 1, "each waits until the replica tells by itself"
        assert replicated.calls_of("waitaof") > 0
        with replicated.replica.client() as client:
            client.config_set("appendonly", "no")
        assert_unconfirmed(await api.post("/score/add", {"delta": 5}, token=token))


class WithoutWaitAof(RedisServer):
    """A server as Redis before 7.2 is."""

    def command(self) -> Command:
        command = super().command()
        return replace(command, argv=(*command.argv, "--rename-command", "WAITAOF", ""))


async def test_a_server_that_cannot_say_what_is_on_disks_is_refused_at_the_start(tmp_path: Path) -> None:
    old = OwnRedis(tmp_path)
    old.server = WithoutWaitAof(old.server.binary, tmp_path, old.server.port)
    old.start()
    try:
        await _check(old.url, REDIS_WAIT_FSYNC="true")
        with old.client() as client:
            for name, value in (("appendfsync", "everysec"), ("appendonly", "no")):
                client.config_set(name, value)
                with pytest.raises(SettingsError, match=rf"^REDIS_WAIT_FSYNC: .* has since 7.2, and its {name} is not"):
                    await _check(old.url, REDIS_WAIT_FSYNC="true")
                client.config_set("appendfsync", "always")
        await _check(old.url)
    finally:
        old.stop()


async def test_a_server_without_a_file_is_refused_at_the_start(own_redis: OwnRedis) -> None:
    with own_redis.client() as client:
        client.config_set("appendonly", "no")
    with pytest.raises(SettingsError, match=r"^REDIS_WAIT_FSYNC: .*appendonly is disabled"):
        await _check(own_redis.url, REDIS_WAIT_FSYNC="true")


async def test_the_right_to_wait_is_tried_where_it_is_needed(own_redis: OwnRedis) -> None:
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "game", "on", ">right", "~*", "+@all", "-wait")
    url = own_redis.url.replace("redis://", "redis://game:right@")
    for replicas, said in (("0", []), ("1", ["its user may not use WAIT"])):
        shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": url, "REDIS_WAIT_REPLICAS": replicas}))
        try:
            assert await refusals(shard_map.shards[0]) == said
        finally:
            await shard_map.close()
