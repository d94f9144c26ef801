"""check_queue.py shows what waits between Redis and Postgres, as a script of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import redis.asyncio as redis

from leaderboard_core.redis.queues import queue_states
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.support.worker import event, push

SCRIPT = Path(__file__).parents[4] / "worker_service" / "scripts" / "check_queue.py"


def run(environ: dict[str, str], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env={**inherited, **environ},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def test_lengths_and_the_next_events(
    sharded_environ: dict[str, str], redis_1: redis.Redis, redis_2: redis.Redis, tmp_path: Path
) -> None:
    await push(redis_2, *(event(f"p{n}") for n in range(25)))
    await redis_2.zadd("workers", {"w1": 1_700_000_000_000_000, "w2": 1_700_000_000_000_000})
    await redis_2.lpush("queue:scores:EU:processing:w1", "a", "b")
    await redis_2.lpush("queue:scores:EU:processing:w2", "c")
    await redis_1.lpush("queue:scores:NA:dead", "d")
    done = run(sharded_environ, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "EU: 25 waiting, 3 being saved, 0 dead letters" in lines
    assert "NA: 0 waiting, 0 being saved, 1 dead letters" in lines
    assert [line.strip() for line in lines if line.startswith(" ")] == [event(f"p{n}") for n in range(20)]
    fewer = run(sharded_environ, "2", cwd=tmp_path).stdout.splitlines()
    assert [line.strip() for line in fewer if line.startswith(" ")] == [event("p0"), event("p1")]
    assert await redis_2.llen("queue:scores:EU") == 25, "looking changes nothing"


async def test_a_redis_that_is_away_is_named_with_its_variable(tmp_path: Path) -> None:
    done = run({"REDIS_URL": "redis://127.0.0.1:1/0"}, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    _, detail = done.stderr.splitlines()
    assert detail.startswith("REDIS_URL: redis://127.0.0.1:1/0: ")


async def test_lengths(environ: dict[str, str], all_redis: redis.Redis) -> None:
    await push(all_redis, event(), region="ASIA")
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        found = {queue.region: queue for queue in await queue_states(shard_map)}
    finally:
        await shard_map.close()
    assert (found["ASIA"].waiting, found["ASIA"].processing, found["ASIA"].dead) == (1, 0, 0)
    assert set(found) == {"ASIA", "EU", "NA", "GLOBAL"}
