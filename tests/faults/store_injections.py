"""Inject faults into the stores: Redis is killed, emptied or rolled back; Postgres is killed or unavailable."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress

import httpx

from tests.faults.harness import Harness
from tests.faults.records import Violation
from tests.faults.second_redis import Replication, second_redis

_REQUESTS_BEFORE_REBUILD, _BEFORE_REBUILD_SECONDS = 20, 10.0
_READS_BESIDE_A_REPLICA = 20
_FOUND_SECONDS = 5.0
"""How soon a worker must find a failback; a second is what it takes on a machine that is not as busy."""


async def redis_killed(harness: Harness) -> None:
    """Kill Redis, with the state of the append-only file in the event log."""
    async with harness.system.redis() as client:
        found = await client.info("persistence")
    keys = ("aof_delayed_fsync", "aof_pending_bio_fsync", "aof_buffer_length")
    harness.chaos.log(f"append-only file: { {key: found[key] for key in keys} }")
    await harness.chaos.kill("redis")


async def redis_killed_while_it_recovers(harness: Harness) -> None:
    """Kill Redis, then the worker that rebuilds it, then Redis again."""
    chaos = harness.chaos
    await redis_killed(harness)
    await chaos.running("redis")
    await chaos.kill(chaos.rng.choice(chaos.names("worker")))
    await redis_killed(harness)


async def redis_emptied(harness: Harness) -> None:
    """Empty Redis after everything was saved."""
    folder = harness.append_only_folder
    async with harness.everything_saved():
        await replace_data(harness, lambda: shutil.rmtree(folder))
    await _requests_before_rebuild(harness)


async def redis_rolled_back(harness: Harness) -> None:
    """Roll Redis back to an old copy of its append-only file; Postgres has everything."""
    restore_copy = await copy_data(harness)
    await harness.more_writes(80, seconds=10)
    async with harness.everything_saved():
        await replace_data(harness, restore_copy)
    await _requests_before_rebuild(harness)


async def copy_data(harness: Harness) -> Callable[[], None]:
    """Copy the append-only file; return what puts the copy in its place."""
    chaos, folder = harness.chaos, harness.append_only_folder
    copy = folder.with_name("appendonlydir.old")
    await chaos.running("redis")
    chaos.freeze("redis")
    try:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
    finally:
        chaos.thaw("redis")

    def restore_copy() -> None:
        shutil.rmtree(folder)
        copy.rename(folder)

    return restore_copy


async def replace_data(harness: Harness, replace: Callable[[], None]) -> None:
    """Replace the data of Redis under a restart, while all workers are paused."""
    chaos = harness.chaos
    for name in chaos.names("worker"):
        await chaos.running(name)
        chaos.freeze(name)
    await replace_data_beside_workers(harness, replace)


async def replace_data_beside_workers(harness: Harness, replace: Callable[[], None]) -> None:
    """Replace the data of Redis under a restart; the workers go on."""
    chaos = harness.chaos
    await chaos.running("redis")
    chaos.freeze("redis")
    replace()
    chaos.log("the append-only file was replaced")
    harness.load.repeatable.clear()  # the answers to Idempotency-Keys are gone with it
    await chaos.kill("redis")


async def redis_failed_back(harness: Harness) -> None:
    """Let another Redis copy ours and be promoted; ours goes on, then takes that one's data and is promoted again.

    Its process, run_id and scripts stay, and what it took meanwhile is in Postgres only. Either each service was
    refused a write while it was a replica, and goes on at once when it is promoted: not one call may be wrong. Or none
    of them made a call: then a worker finds it (docs/decisions/0016), and nobody calls until it has.
    """
    chaos, load = harness.chaos, harness.load
    for name in chaos.names("worker"):
        await chaos.running(name)
    await chaos.running("redis")
    told = chaos.rng.random() < 0.5
    async with second_redis(harness) as replication:
        own, second = replication.own, replication.second
        await replication.second_follows()
        before = await _same_admission(replication)  # the first replica gives its master a new replid
        await second.replicaof("NO", "ONE")
        chaos.log(f"the second Redis has a copy and is promoted, both under {before}")
        await harness.more_writes(60, seconds=10)
        run_id = (await own.info("server"))["run_id"]
        async with harness.everything_saved(), load.reads_paused():
            await replication.own_follows()
            load.repeatable.clear()  # the answers to Idempotency-Keys are gone
            syncs, players = (await second.info("stats"))["sync_full"], await own.zcard("leaderboard:GLOBAL")
            there = harness.system.ledger.there["GLOBAL"]
            chaos.log(f"Redis is a replica with {players} of {there} players, by {syncs} full synchronisation")
            if told:
                await _refused_by_each_service(harness)
            else:
                await _promoted_unseen(replication, before)
        if told:
            await _requests_refused(harness)
            await own.replicaof("NO", "ONE")
            chaos.log("Redis is promoted; each service has seen it demoted")
            await load.read_some(_READS_BESIDE_A_REPLICA)
        if (await own.info("server"))["run_id"] != run_id:
            chaos.log("Redis was restarted meanwhile")
        await harness.more_writes(20, seconds=10)


async def _same_admission(replication: Replication) -> str:
    """Wait until ours is served, and the other has its admission, as scripts that are loaded name it."""

    async def admission() -> str:
        text = str(await replication.own.get("shard:admission"))
        replid = (await replication.own.info("replication"))["master_replid"]
        same = text == await replication.second.get("shard:admission")
        return text if same and text.split()[-1] == replid and not text.startswith("closed") else ""

    return str(await replication.harness.until(admission, "an admission under the new replication id"))


async def _promoted_unseen(replication: Replication, before: str) -> None:
    """Promote ours, and wait until a worker has closed it."""
    harness = replication.harness

    async def closed() -> bool:
        return bool(await replication.own.get("shard:admission") != before)

    await replication.own.replicaof("NO", "ONE")
    harness.chaos.log("Redis is promoted, and no service has called it since before it was demoted")
    await harness.until(closed, "the end of an admission of before a failback", seconds=_FOUND_SECONDS)
    harness.chaos.log("a worker has closed it")


async def _refused_by_each_service(harness: Harness) -> None:
    """Send a write to each service until it says that it has found a replica. Raises Violation."""
    token = harness.system.tokens.issue("server-1", "Game server", "GLOBAL", role="server")
    body = {"user_id": "never-made", "region": "EU", "score": 1, "name": "Never made"}
    async with httpx.AsyncClient(timeout=10, headers={"Authorization": f"Bearer {token}"}) as http:
        for name in harness.chaos.names("service"):
            url = harness.system.cluster.state["urls"][name]

            async def refused(url: str = url) -> bool:
                try:
                    answer = await http.post(f"{url}/score", json=body)
                except httpx.TransportError:
                    return False
                if answer.is_success:
                    raise Violation(f"a replica was written to: {answer.text}")
                return answer.status_code == 503 and "is a replica" in answer.text

            await harness.until(refused, f"a write that {name} refuses", seconds=20)


async def _requests_refused(harness: Harness) -> None:
    """Let requests come to services whose Redis is a replica: reads are answered from Postgres."""
    answers = harness.system.ledger.answers

    def count(*labels: str) -> int:
        return sum(answers[label] for label in labels)

    reads, writes = count("GET 200 postgres"), count("POST 503 unavailable")
    await harness.load.read_some(_READS_BESIDE_A_REPLICA)
    with suppress(TimeoutError):
        async with asyncio.timeout(_BEFORE_REBUILD_SECONDS):
            while count("POST 503 unavailable") < writes + _REQUESTS_BEFORE_REBUILD:
                await asyncio.sleep(0.02)
    found = count("GET 200 postgres") - reads, count("POST 503 unavailable") - writes
    harness.chaos.log(f"{found[0]} reads from Postgres and {found[1]} writes refused beside a replica")


async def _requests_before_rebuild(harness: Harness) -> None:
    """Send requests to a Redis that is not rebuilt yet; then let the workers rebuild it."""
    async with harness.system.redis():
        harness.chaos.log("Redis answers, not rebuilt")
    answers = harness.system.ledger.answers

    def reached_redis() -> int:
        return sum(answers[f"POST {label}"] for label in ("200 done", "201 done", "503 warming_up"))

    enough = reached_redis() + _REQUESTS_BEFORE_REBUILD
    with suppress(TimeoutError):
        async with asyncio.timeout(_BEFORE_REBUILD_SECONDS):
            while reached_redis() < enough and not harness.system.ledger.violations:
                await asyncio.sleep(0.02)
    for name in harness.chaos.names("worker"):
        harness.chaos.thaw(name)
    await harness.more_writes(20, seconds=10)


async def postgres_backend_killed(harness: Harness) -> None:
    """Kill one of its processes: Postgres ends all connections and recovers."""
    chaos = harness.chaos
    await chaos.running("postgres")
    chaos.kill_child("postgres")


async def postgres_unavailable(harness: Harness) -> None:
    """Kill Postgres several times, each time as soon as it is back."""
    for _ in range(harness.chaos.rng.choice((2, 3))):
        await harness.chaos.kill("postgres")
        await harness.more_writes(20)


async def postgres_paused_and_worker_killed(harness: Harness) -> None:
    """Pause Postgres and kill a worker that waits for it."""
    chaos = harness.chaos
    await chaos.running("postgres")
    chaos.freeze("postgres")
    try:
        await harness.more_writes(60)
        await chaos.kill(chaos.rng.choice(chaos.names("worker")))
    finally:
        chaos.thaw("postgres")
