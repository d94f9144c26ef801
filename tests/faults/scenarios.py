"""Compose injections into scenarios, each with its weight."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from tests.faults import injections, store_injections, worker_injections
from tests.faults.injections import Injection

KILL, TERM, INT, QUIT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


@dataclass(frozen=True)
class Scenario:
    """Weighted injections. A run begins with each injection of `always`, in random order."""

    name: str
    always: tuple[Injection, ...]
    mixed: tuple[tuple[Injection, int], ...]


WORKERS = Scenario(
    "workers",
    always=(
        worker_injections.workers_killed_before_commit,
        worker_injections.worker_killed_before_acknowledging,
        worker_injections.worker_killed_in_a_backlog,
        worker_injections.worker_wakes_up_with_an_old_batch,
        worker_injections.redis_rolled_back_while_an_upsert_is_slow,
    ),
    mixed=(
        (injections.ended(KILL, "worker"), 6),
        (injections.ended(TERM, "worker"), 1),
        (injections.paused("worker"), 1),
        (worker_injections.every_worker_killed, 1),
        (worker_injections.worker_killed_in_a_backlog, 2),
        (worker_injections.workers_killed_before_commit, 2),
        (worker_injections.worker_killed_and_committed_late, 2),
        (worker_injections.worker_killed_before_acknowledging, 2),
        (worker_injections.worker_wakes_up_with_an_old_batch, 1),
        (worker_injections.redis_rolled_back_while_an_upsert_is_slow, 1),
    ),
)
APPLICATIONS = Scenario(
    "services and gateways",
    always=(
        injections.killed_with_writes_in_redis("service"),
        injections.killed_with_writes_in_redis("gateway"),
    ),
    mixed=(
        (injections.ended(KILL, "service"), 3),
        (injections.ended(KILL, "gateway"), 3),
        (injections.ended(TERM, "service", "gateway"), 2),
        (injections.killed_with_writes_in_redis("service", "gateway"), 3),
        (injections.paused("service", "gateway"), 1),
        (injections.rolling_restart("service"), 1),
        (injections.rolling_restart("gateway"), 1),
    ),
)
REDIS = Scenario(
    "redis",
    always=(
        store_injections.redis_killed,
        store_injections.redis_emptied,
        store_injections.redis_rolled_back,
        store_injections.redis_failed_back,
    ),
    mixed=(
        (store_injections.redis_killed, 4),
        (store_injections.redis_killed_while_it_recovers, 1),
        (injections.paused("redis"), 1),
        (injections.ended(TERM, "redis"), 1),
        (store_injections.redis_emptied, 1),
        (store_injections.redis_rolled_back, 1),
        (store_injections.redis_failed_back, 1),
    ),
)
POSTGRES = Scenario(
    "postgres",
    always=(
        injections.ended(KILL, "postgres"),
        store_injections.postgres_unavailable,
        store_injections.postgres_backend_killed,
        store_injections.postgres_paused_and_worker_killed,
    ),
    mixed=(
        (injections.ended(KILL, "postgres"), 3),
        (injections.ended(INT, "postgres"), 1),
        (injections.ended(QUIT, "postgres"), 1),
        (injections.paused("postgres"), 1),
        (store_injections.postgres_unavailable, 1),
        (store_injections.postgres_backend_killed, 2),
        (store_injections.postgres_paused_and_worker_killed, 1),
    ),
)
EVERYTHING = Scenario(
    "everything",
    always=(
        injections.paused("redis"),
        injections.paused("postgres"),
        store_injections.redis_killed,
        injections.ended(KILL, "nginx"),
    ),
    mixed=(
        *WORKERS.mixed,
        *APPLICATIONS.mixed,
        *REDIS.mixed,
        *POSTGRES.mixed,
        (injections.ended(KILL, "nginx"), 1),
        (injections.paused("worker", "service", "gateway", "redis", "postgres"), 6),
    ),
)
SCENARIOS = (WORKERS, APPLICATIONS, REDIS, POSTGRES, EVERYTHING)
