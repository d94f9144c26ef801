"""Which faults come in which schedule, how often, and for how long."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from tests.faults import acts, store_acts, worker_acts
from tests.faults.acts import Act

KILL, TERM, INT, QUIT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


@dataclass(frozen=True)
class Schedule:
    """Faults by weight. Each round begins with every act of `always`, in random order."""

    name: str
    always: tuple[Act, ...]
    mixed: tuple[tuple[Act, int], ...]


WORKERS = Schedule(
    "workers",
    always=(
        worker_acts.workers_killed_before_commit,
        worker_acts.worker_killed_before_acknowledging,
        worker_acts.worker_killed_in_a_backlog,
        worker_acts.worker_wakes_up_with_an_old_batch,
    ),
    mixed=(
        (acts.ended(KILL, "worker"), 6),
        (acts.ended(TERM, "worker"), 1),
        (acts.paused("worker"), 1),
        (worker_acts.every_worker_killed, 1),
        (worker_acts.worker_killed_in_a_backlog, 2),
        (worker_acts.workers_killed_before_commit, 2),
        (worker_acts.worker_killed_and_committed_late, 2),
        (worker_acts.worker_killed_before_acknowledging, 2),
        (worker_acts.worker_wakes_up_with_an_old_batch, 1),
    ),
)
DOORS = Schedule(
    "services and gateways",
    always=(
        acts.killed_with_writes_in_redis("service"),
        acts.killed_with_writes_in_redis("gateway"),
    ),
    mixed=(
        (acts.ended(KILL, "service"), 3),
        (acts.ended(KILL, "gateway"), 3),
        (acts.ended(TERM, "service", "gateway"), 2),
        (acts.killed_with_writes_in_redis("service", "gateway"), 3),
        (acts.paused("service", "gateway"), 1),
        (acts.rolling_restart("service"), 1),
        (acts.rolling_restart("gateway"), 1),
    ),
)
REDIS = Schedule(
    "redis",
    always=(store_acts.redis_killed, store_acts.redis_emptied, store_acts.redis_set_back),
    mixed=(
        (store_acts.redis_killed, 4),
        (store_acts.redis_killed_while_it_recovers, 1),
        (acts.paused("redis"), 1),
        (acts.ended(TERM, "redis"), 1),
        (store_acts.redis_emptied, 1),
        (store_acts.redis_set_back, 1),
    ),
)
POSTGRES = Schedule(
    "postgres",
    always=(
        acts.ended(KILL, "postgres"),
        store_acts.postgres_away,
        store_acts.postgres_backend_killed,
        store_acts.postgres_paused_and_worker_killed,
    ),
    mixed=(
        (acts.ended(KILL, "postgres"), 3),
        (acts.ended(INT, "postgres"), 1),
        (acts.ended(QUIT, "postgres"), 1),
        (acts.paused("postgres"), 1),
        (store_acts.postgres_away, 1),
        (store_acts.postgres_backend_killed, 2),
        (store_acts.postgres_paused_and_worker_killed, 1),
    ),
)
EVERYTHING = Schedule(
    "everything",
    always=(acts.paused("redis"), acts.paused("postgres"), store_acts.redis_killed, acts.ended(KILL, "nginx")),
    mixed=(
        *WORKERS.mixed,
        *DOORS.mixed,
        *REDIS.mixed,
        *POSTGRES.mixed,
        (acts.ended(KILL, "nginx"), 1),
        (acts.paused("worker", "service", "gateway", "redis", "postgres"), 6),
    ),
)
SCHEDULES = (WORKERS, DOORS, REDIS, POSTGRES, EVERYTHING)
