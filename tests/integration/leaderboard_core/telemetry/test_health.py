"""A store that answers and refuses every write: real ones, and what health, status and metrics say of them."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.refusals import look_at_writes
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import TestDatabases, admit
from tests.support.own_redis import OwnRedis
from tests.support.service import Api, running_service
from tests.support.waiting import eventually


class FullableRedis(RedisServer):
    """A Redis that goes on where a limit of its files' size fails a write, as a full disk does.

    The signal of that limit is ignored by the Python interpreter, and so by what it executes.
    """

    def command(self) -> Command:
        command, execute = super().command(), "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
        return replace(command, argv=(sys.executable, "-I", "-S", "-c", execute, *command.argv))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnRedis]:
    own = OwnRedis(tmp_path)
    # With `always` it would end instead.
    own.server = FullableRedis(own.server.binary, own.server.data_dir, own.server.port, appendfsync="everysec")
    own.start()
    yield own
    own.stop()


@pytest.fixture
async def shard_map(own: OwnRedis) -> AsyncIterator[ShardMap]:
    shard_map = ShardMap.open(load(TopologySettings, {"REDIS_URL": own.url}))
    yield shard_map
    await shard_map.close()


def full_disk(own: OwnRedis, undo: ExitStack) -> None:
    """No file of the server may grow, as on a full disk."""
    with own.client() as client:
        pid = int(client.info("server")["process_id"])
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    undo.callback(resource.prlimit, pid, resource.RLIMIT_FSIZE, before)


def unwritten_file(own: OwnRedis, undo: ExitStack) -> None:
    full_disk(own, undo)
    with own.client() as client:
        client.set("the write of which the file fails", 1)


def unwritten_snapshot(own: OwnRedis, undo: ExitStack) -> None:
    with own.client() as client:
        client.config_set("appendonly", "no")
        client.config_set("save", "3600 100000")
        undo.callback(lambda: client.bgsave())
        full_disk(own, undo)
        client.bgsave()


def no_memory(own: OwnRedis, undo: ExitStack) -> None:
    with own.client() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) // 2)
        undo.callback(lambda: client.config_set("maxmemory", 0))


CAUSES: dict[str, tuple[Callable[[OwnRedis, ExitStack], None], str]] = {
    "file": (unwritten_file, "its append-only file cannot be written to the disk"),
    "snapshot": (unwritten_snapshot, "its last snapshot could not be written to the disk"),
    "memory": (no_memory, "its maxmemory is used up"),
}


def writes_fail(own: OwnRedis) -> bool:
    with own.client() as client:
        try:
            client.set("probe", 1)
        except (redis.exceptions.ResponseError, redis.exceptions.OutOfMemoryError):
            return True
    return False


async def said(api: Api, path: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(path)).json()
    return found


@pytest.mark.parametrize("cause", CAUSES)
async def test_a_redis_that_refuses_every_write_is_said_so_while_it_does(
    cause: str, own: OwnRedis, environ: dict[str, str], databases: RegionDatabases
) -> None:
    chosen = {**environ, "REDIS_URL": own.url}
    await admit(chosen, databases)
    begin, reason = CAUSES[cause]
    with own.client() as client:
        client.zadd("workers", {"w": int((time.time() + 3600) * 1_000_000)})
    async with running_service(chosen) as api:
        assert (await api.get("/health")).status_code == 200
        assert (await said(api, "/status"))["ok"] is True
        with ExitStack() as undo:
            begin(own, undo)
            await eventually(lambda: asyncio.to_thread(writes_fail, own), "refused writes")

            async def refused() -> bool:
                return "refuses_writes" in (await said(api, "/status"))["redis"][0]

            await eventually(refused, "the status that says so")
            response = await api.get("/health")
            (shard,) = response.json()["redis"]
            assert (response.status_code, response.json()["ok"]) == (503, False)
            assert (shard["ok"], shard["ready"], shard["refuses_writes"]) == (False, True, reason)
            status = await said(api, "/status")
            assert (status["ok"], status["reads"]) == (False, "redis"), "boards are read from it as ever"
            (told,) = status["redis"]
            assert abs(told.pop("clock_offset_seconds")) < 1
            assert told == {"regions": shard["regions"], "ok": False, "refuses_writes": reason, "replicas": 0}
            page = (await api.get("/metrics")).text
            assert f'leaderboard_redis_up{{shard="{own.url}"}} 1.0' in page
            assert f'leaderboard_redis_writable{{shard="{own.url}"}} 0.0' in page

        async def well() -> bool:
            return (await api.get("/health")).status_code == 200

        await eventually(well, "the end of it")
        assert "refuses_writes" not in (await said(api, "/status"))["redis"][0]


async def test_a_replica_refuses_writes_and_a_snapshot_that_nobody_needs_is_no_reason(
    own: OwnRedis, shard_map: ShardMap
) -> None:
    (shard,) = shard_map.shards
    assert (await look_at_writes(shard)).refusal is None
    with own.client() as client, ExitStack() as undo:
        client.config_set("appendonly", "no")
        full_disk(own, undo)
        client.bgsave()
        await eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the failed snapshot")
        assert not writes_fail(own)
        assert (await look_at_writes(shard)).refusal is None
        client.replicaof("127.0.0.1", 1)
        assert writes_fail(own)
        assert (await look_at_writes(shard)).refusal == "it is a read-only replica"


async def test_a_read_only_postgres_is_said_so(
    environ: dict[str, str], databases: RegionDatabases, test_databases: TestDatabases, redis_1: Any
) -> None:
    await admit(environ, databases)
    await redis_1.zadd("workers", {"w": int((time.time() + 3600) * 1_000_000)})
    name = urlsplit(test_databases.dsn("EU")).path.removeprefix("/")
    await test_databases.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    reason = "its transactions are read-only (default_transaction_read_only)"
    try:
        async with running_service(environ) as api:
            response = await api.get("/health")
            assert response.status_code == 200, "scores and boards go on without Postgres"
            stores = {database["region"]: database for database in response.json()["postgres"]}
            assert stores["EU"] == {"region": "EU", "ok": False, "refuses_writes": reason}
            assert stores["NA"] == {"region": "NA", "ok": True}
            status = await said(api, "/status")
            assert status["ok"] is False
            assert stores["EU"] in status["postgres"]
            page = (await api.get("/metrics")).text
            assert 'leaderboard_postgres_up{region="EU"} 1.0' in page
            assert 'leaderboard_postgres_writable{region="EU"} 0.0' in page
            assert 'leaderboard_postgres_writable{region="NA"} 1.0' in page
    finally:
        await test_databases.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
