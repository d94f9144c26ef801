"""Settings of the worker."""

from __future__ import annotations

from pydantic import Field

from leaderboard_core.settings.loading import Group


class WorkerSettings(Group):
    """How the worker moves events from the queues to Postgres."""

    batch_size: int = Field(500, ge=1, le=20_000, description="Most events in one upsert.")
    batch_linger_ms: int = Field(
        50,
        ge=0,
        le=1000,
        description="How long a small batch waits for company: fewer, larger upserts, and rows that much later.",
    )
    worker_timeout_seconds: int = Field(
        15, ge=2, description="Silence after which a worker counts as dead and its events are taken over."
    )
    clock_skew_seconds: float = Field(
        1,
        ge=0,
        le=60,
        description="How far apart the clocks of Redis servers are at most that may take each other's place.",
    )
    allow_eviction: bool = Field(
        False, description="Admit a Redis whose maxmemory-policy evicts keys, and with them players."
    )
