"""Declare the counters of services and workers."""

from __future__ import annotations

from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from leaderboard_core.telemetry.labelled_counts import LabelledCounts
from leaderboard_core.telemetry.request_metrics import RequestMetrics

HTTP_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

READS = LabelledCounts(
    "leaderboard_reads",
    "Reads by board (one of METRICS_BOARDS, or other) and source: redis or postgres.",
    ("board", "source"),
    REGISTRY,
)
STREAMS_OPEN = Gauge("leaderboard_streams_open", "Live streams that are open, by kind: top or rank.", ["kind"])
STREAM_EVENTS = Counter("leaderboard_stream_events", "Events sent to listeners, by kind and event.", ["kind", "event"])
STREAM_DROPPED = Counter("leaderboard_streams_dropped", "Listeners cut off because they took nothing.", ["kind"])
SCORE_WRITES = LabelledCounts(
    "leaderboard_score_writes",
    "Score writes by board (one of METRICS_BOARDS, or other) and outcome: ok, unchanged, replay or the refusal's code "
    "(rate_limited, queue_full, ...).",
    ("board", "outcome"),
    REGISTRY,
)
LOGINS = Counter("leaderboard_logins", "Logins by outcome: ok or the refusal's code.", ["outcome"])

EVENTS_SAVED = Counter(
    "leaderboard_worker_events", "Events by outcome: saved, superseded or dead.", ["region", "outcome"]
)
EVENTS_RECLAIMED = Counter(
    "leaderboard_worker_events_taken_over", "Events reclaimed from workers without a heartbeat.", ["region"]
)
BATCH_SIZE = Histogram(
    "leaderboard_worker_batch_size",
    "Events in one batch.",
    ["region"],
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 20_000),
)
UPSERT_SECONDS = Histogram("leaderboard_worker_upsert_seconds", "Time of one upsert.", ["region"])
UPSERT_FAILURES = Counter(
    "leaderboard_worker_upsert_failures", "Upserts that Postgres was not there for, to be tried again.", ["region"]
)
BATCHES_FENCED = Counter(
    "leaderboard_worker_batches_fenced",
    "Batches that Postgres refused for they were taken under an earlier admission of their Redis.",
    ["region"],
)
TASK_FAILURES = Counter(
    "leaderboard_worker_task_failures", "Unforeseen errors that a worker's task was started again after.", ["task"]
)
PLAYERS_REPAIRED = Counter(
    "leaderboard_players_repaired", "Players who were on a board of this Redis without a hash.", ["shard"]
)
REBUILD_RUNNING = Gauge("leaderboard_rebuild_running", "1 while this worker brings the Redis up to date.", ["shard"])
REBUILD_PLAYERS = Gauge("leaderboard_rebuild_players", "Players that the latest rebuild has read so far.", ["region"])
REBUILD_EXPECTED = Gauge(
    "leaderboard_rebuild_expected_players",
    "Players that the latest rebuild had to read by Postgres' estimate; 0 when it read the latest changes only.",
    ["region"],
)
ENTRIES_UNKNOWN = Counter(
    "leaderboard_entries_of_no_board",
    "Entries that were left out of Postgres or of a rebuild, for their board is gone.",
    ["region"],
)
REBUILDS = Counter(
    "leaderboard_rebuilds",
    "Rebuilds by outcome: complete, or interrupted or failed, to be tried again.",
    ["shard", "outcome"],
)

OF_SERVICE = (READS, STREAMS_OPEN, STREAM_EVENTS, STREAM_DROPPED, SCORE_WRITES, LOGINS)
OF_WORKER = (
    *(EVENTS_SAVED, EVENTS_RECLAIMED, BATCH_SIZE, UPSERT_SECONDS, UPSERT_FAILURES, BATCHES_FENCED),
    *(TASK_FAILURES, PLAYERS_REPAIRED),
    *(REBUILD_RUNNING, REBUILD_PLAYERS, REBUILD_EXPECTED, REBUILDS, ENTRIES_UNKNOWN),
)


HTTP_REQUESTS = RequestMetrics("leaderboard_http_requests", "leaderboard_http_request_seconds", HTTP_BUCKETS, REGISTRY)
