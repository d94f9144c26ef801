"""Prometheus metrics that every process has, and their text form."""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

HTTP_REQUESTS = Counter("leaderboard_http_requests", "Requests answered.", ["route", "method", "status"])
HTTP_SECONDS = Histogram(
    "leaderboard_http_request_seconds",
    "Time from the request's head to the end of the answer.",
    ["route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
READS = Counter("leaderboard_reads", "Reads of boards by their source: redis or postgres.", ["source"])
SCORE_WRITES = Counter(
    "leaderboard_score_writes", "Score writes by outcome: ok, replay or the refusal's code.", ["outcome"]
)
EVENTS_SAVED = Counter(
    "leaderboard_worker_events", "Events by outcome: saved, superseded or dead.", ["region", "outcome"]
)
BATCH_SIZE = Histogram(
    "leaderboard_worker_batch_size",
    "Events in one batch.",
    ["region"],
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 20_000),
)
UPSERT_SECONDS = Histogram("leaderboard_worker_upsert_seconds", "Time of one upsert.", ["region"])


def render() -> bytes:
    """The process's metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)
