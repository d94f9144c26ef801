"""Define the results of calls about the system: its health, queues and workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the answering process can serve, and its whole answer."""

    ok: bool
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The queue of a region; `lag_seconds` is the age of the oldest event not committed yet."""

    region: str
    waiting: int
    processing: int
    dead: int
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker, and the age of its last heartbeat."""

    name: str
    last_seen_seconds: float


@dataclass(frozen=True, slots=True)
class Status:
    """Whether everything is saved; `reads` is "redis" or "postgres", `details` the whole answer."""

    ok: bool
    reads: str
    queues: tuple[QueueStatus, ...]
    workers: tuple[WorkerStatus, ...]
    details: Mapping[str, Any]
