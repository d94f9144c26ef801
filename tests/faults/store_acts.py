"""Faults of the stores: Redis dies, loses its data or gets older ones; Postgres dies or is away."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress

from tests.faults.stage import Stage

_REQUESTS_UNMENDED, _UNMENDED_SECONDS = 20, 10.0


async def redis_killed(stage: Stage) -> None:
    """kill -9, with the state of the append-only file in the diary."""
    async with stage.world.redis() as client:
        found = await client.info("persistence")
    keys = ("aof_delayed_fsync", "aof_pending_bio_fsync", "aof_buffer_length")
    stage.chaos.note(f"append-only file: { {key: found[key] for key in keys} }")
    await stage.chaos.kill("redis")


async def redis_killed_while_it_recovers(stage: Stage) -> None:
    """Redis dies, then the worker that mends it, then Redis again."""
    chaos = stage.chaos
    await redis_killed(stage)
    await chaos.running("redis")
    await chaos.kill(chaos.rng.choice(chaos.names("worker")))
    await redis_killed(stage)


async def redis_emptied(stage: Stage) -> None:
    """Redis loses everything after everything was saved."""
    folder = stage.append_only_folder
    async with stage.everything_saved():
        await _replace_data(stage, lambda: shutil.rmtree(folder))
    await _unmended(stage)


async def redis_set_back(stage: Stage) -> None:
    """Redis comes back from an old copy of its append-only file; Postgres has everything."""
    chaos, folder = stage.chaos, stage.append_only_folder
    copy = folder.with_name("appendonlydir.old")
    await chaos.running("redis")
    chaos.freeze("redis")
    try:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
    finally:
        chaos.thaw("redis")

    def put_back() -> None:
        shutil.rmtree(folder)
        copy.rename(folder)

    await stage.more_writes(80, seconds=10)
    async with stage.everything_saved():
        await _replace_data(stage, put_back)
    await _unmended(stage)


async def _replace_data(stage: Stage, replace: Callable[[], None]) -> None:
    """Redis dies and finds other data when it comes back, while no worker can mend them."""
    chaos = stage.chaos
    for name in chaos.names("worker"):
        await chaos.running(name)
        chaos.freeze(name)
    await chaos.running("redis")
    chaos.freeze("redis")
    replace()
    chaos.note("the append-only file was replaced")
    stage.swarm.repeatable.clear()  # the answers to Idempotency-Keys are gone with it
    await chaos.kill("redis")


async def _unmended(stage: Stage) -> None:
    """Requests come to a Redis that nobody has mended; then the workers wake up and mend it."""
    async with stage.world.redis():
        stage.chaos.note("Redis answers, unmended")
    answers = stage.world.ledger.answers

    def reached_redis() -> int:
        return sum(answers[f"POST {label}"] for label in ("200 done", "201 done", "503 warming_up"))

    enough = reached_redis() + _REQUESTS_UNMENDED
    with suppress(TimeoutError):
        async with asyncio.timeout(_UNMENDED_SECONDS):
            while reached_redis() < enough and not stage.world.ledger.violations:
                await asyncio.sleep(0.02)
    for name in stage.chaos.names("worker"):
        stage.chaos.thaw(name)
    await stage.more_writes(20, seconds=10)


async def postgres_backend_killed(stage: Stage) -> None:
    """kill -9 of one of its processes: Postgres ends all connections and recovers."""
    chaos = stage.chaos
    await chaos.running("postgres")
    chaos.kill_child("postgres")


async def postgres_away(stage: Stage) -> None:
    """Killed again and again as soon as it is back."""
    for _ in range(stage.chaos.rng.choice((2, 3))):
        await stage.chaos.kill("postgres")
        await stage.more_writes(20)


async def postgres_paused_and_worker_killed(stage: Stage) -> None:
    """Postgres stands still, the worker that waits for it dies."""
    chaos = stage.chaos
    await chaos.running("postgres")
    chaos.freeze("postgres")
    try:
        await stage.more_writes(60)
        await chaos.kill(chaos.rng.choice(chaos.names("worker")))
    finally:
        chaos.thaw("postgres")
