"""Name the faults of which every pair is tried."""

from __future__ import annotations

import itertools
import signal

from tests.faults import injections, store_injections, worker_injections
from tests.faults.injections import Injection

KILL, TERM = signal.SIGKILL, signal.SIGTERM

FAULTS: dict[str, Injection] = {
    "worker killed": injections.ended(KILL, "worker"),
    "worker paused": injections.paused("worker"),
    "every worker killed": worker_injections.every_worker_killed,
    "workers killed before commit": worker_injections.workers_killed_before_commit,
    "worker killed before acknowledging": worker_injections.worker_killed_before_acknowledging,
    "worker killed and committed late": worker_injections.worker_killed_and_committed_late,
    "worker killed in a backlog": worker_injections.worker_killed_in_a_backlog,
    "worker wakes up with an old batch": worker_injections.worker_wakes_up_with_an_old_batch,
    "Redis rolled back while an upsert is slow": worker_injections.redis_rolled_back_while_an_upsert_is_slow,
    "service killed with writes in Redis": injections.killed_with_writes_in_redis("service"),
    "service paused": injections.paused("service"),
    "services restarted": injections.rolling_restart("service"),
    "gateway killed with writes in Redis": injections.killed_with_writes_in_redis("gateway"),
    "gateway paused": injections.paused("gateway"),
    "gateways restarted": injections.rolling_restart("gateway"),
    "NGINX killed": injections.ended(KILL, "nginx"),
    "Redis killed": store_injections.redis_killed,
    "Redis killed while it recovers": store_injections.redis_killed_while_it_recovers,
    "Redis restarted": injections.ended(TERM, "redis"),
    "Redis paused": injections.paused("redis"),
    "Redis emptied": store_injections.redis_emptied,
    "Redis rolled back": store_injections.redis_rolled_back,
    "Redis failed back": store_injections.redis_failed_back,
    "Postgres killed": injections.ended(KILL, "postgres"),
    "Postgres unavailable": store_injections.postgres_unavailable,
    "Postgres backend killed": store_injections.postgres_backend_killed,
    "Postgres paused": injections.paused("postgres"),
    "Postgres paused and worker killed": store_injections.postgres_paused_and_worker_killed,
}
ONE_AFTER_THE_OTHER = frozenset(
    {"Redis emptied", "Redis rolled back", "Redis rolled back while an upsert is slow", "Redis failed back"}
)
"""Each exchanges the whole of Redis' data for others, so that two of them do not overlap."""

Pair = tuple[str, str]
PAIRS: tuple[Pair, ...] = tuple(itertools.combinations_with_replacement(FAULTS, 2))
