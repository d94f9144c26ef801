"""Inject faults into the stores: Redis is killed, emptied or rolled back; Postgres is killed or unavailable."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress

from tests.faults.harness import Harness

_REQUESTS_BEFORE_REBUILD, _BEFORE_REBUILD_SECONDS = 20, 10.0


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
        await _replace_data(harness, lambda: shutil.rmtree(folder))
    await _requests_before_rebuild(harness)


async def redis_rolled_back(harness: Harness) -> None:
    """Roll Redis back to an old copy of its append-only file; Postgres has everything."""
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

    await harness.more_writes(80, seconds=10)
    async with harness.everything_saved():
        await _replace_data(harness, restore_copy)
    await _requests_before_rebuild(harness)


async def _replace_data(harness: Harness, replace: Callable[[], None]) -> None:
    """Replace the data of Redis under a restart, while all workers are paused."""
    chaos = harness.chaos
    for name in chaos.names("worker"):
        await chaos.running(name)
        chaos.freeze(name)
    await chaos.running("redis")
    chaos.freeze("redis")
    replace()
    chaos.log("the append-only file was replaced")
    harness.load.repeatable.clear()  # the answers to Idempotency-Keys are gone with it
    await chaos.kill("redis")


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
