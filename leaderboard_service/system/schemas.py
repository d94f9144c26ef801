"""Defines the JSON of health and status."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from leaderboard_service.schemas import Region

RefusesWrites = Annotated[str | None, Field(description="Why it refuses every write; absent while it takes them.")]
Partition = Annotated[
    str | None,
    Field(
        pattern=r"^\d+/\d+$",
        description="Which part of their players it holds, counted from 0, as in `1/4`; absent where it holds all.",
    ),
]
ClockOffset = Annotated[
    float | None, Field(description="How far its clock is ahead of this process's; absent while it does not answer.")
]
Failure = Annotated[str | None, Field(description="Why it does not answer; absent while it does.")]


class RedisHealth(BaseModel):
    """A Redis."""

    shard: Annotated[str, Field(description="Its URL, without a password.")]
    regions: Annotated[list[Region], Field(description="The regions whose players it holds.")]
    partition: Partition = None
    ok: Annotated[bool, Field(description="It answers, holds its data and takes writes.")]
    ready: Annotated[bool, Field(description="It holds its data.")]
    warnings: Annotated[list[str], Field(description="What could lose data.")] = []
    server: Annotated[str, Field(description="The address of the server that has it now.")] = ""
    replicas: Annotated[list[str], Field(description="The replicas in sync with that server.")] = []
    clock_offset_seconds: ClockOffset = None
    error: Failure = None
    refuses_writes: RefusesWrites = None


class PostgresHealth(BaseModel):
    """A region's database."""

    region: Annotated[Region, Field(description="The region.")]
    ok: Annotated[bool, Field(description="It answers and takes writes.")]
    error: Failure = None
    refuses_writes: RefusesWrites = None


class UpstreamHealth(BaseModel):
    """A service, as a gateway sees it."""

    url: Annotated[str, Field(description="Its address.")]
    healthy: Annotated[bool, Field(description="It is sent requests.")]
    state: Annotated[str, Field(description="`healthy`, or why it is sent none.")]
    seconds_in_state: Annotated[float, Field(ge=0, description="How long it has been so.")]
    health_status: Annotated[int | None, Field(description="The status of its last answer to `GET /health`.")]
    failed_checks: Annotated[int, Field(ge=0, description="Checks without an answer, in a row.")]
    last_error: Annotated[str | None, Field(description="What went wrong last.")]


class Health(BaseModel):
    """A service's health has `redis` and `postgres`, a gateway's `health_task` and `upstreams`."""

    model_config = ConfigDict(extra="allow")

    ok: Annotated[bool, Field(description="This process can serve.")]
    instance: Annotated[str, Field(description="INSTANCE_NAME, or the process and its port.")]
    stopping: Annotated[bool, Field(description="A stop was asked for.")]
    redis: Annotated[list[RedisHealth], Field(description="Of a service: each Redis.")] = []
    postgres: Annotated[list[PostgresHealth], Field(description="Of a service: each region's database.")] = []
    health_task: Annotated[bool, Field(description="Of a gateway: the task that checks the services runs.")] = True
    upstreams: Annotated[
        list[UpstreamHealth], Field(description="Of a gateway: each service and its state; for STATUS_ALLOW only.")
    ] = []


class QueueStatus(BaseModel):
    region: Annotated[Region, Field(description="The region.")]
    waiting: Annotated[int, Field(description="Events in the queue.")]
    processing: Annotated[int, Field(description="Events that a worker has taken and Postgres has not committed.")]
    dead: Annotated[int, Field(description="Events that Postgres refused.")]
    lag_seconds: Annotated[float, Field(ge=0, description="Age of the oldest event not committed yet; 0 when none.")]


class WorkerStatus(BaseModel):
    name: Annotated[str, Field(description="The worker's INSTANCE_NAME.")]
    last_seen_seconds: Annotated[float, Field(ge=0, description="Since its last sign of life; they come every second.")]


class RedisStatus(BaseModel):
    regions: Annotated[list[Region], Field(description="The regions whose players it holds.")]
    partition: Partition = None
    ok: Annotated[bool, Field(description="It answers, holds its data and takes writes.")]
    replicas: Annotated[
        int | None, Field(ge=0, description="How many replicas are in sync; absent while it does not answer.")
    ] = None
    clock_offset_seconds: ClockOffset = None
    refuses_writes: RefusesWrites = None


class PostgresStatus(BaseModel):
    region: Annotated[Region, Field(description="The region.")]
    ok: Annotated[bool, Field(description="The region's database answers and takes writes.")]
    refuses_writes: RefusesWrites = None


class Status(BaseModel):
    ok: Annotated[bool, Field(description="Every store answers and takes writes, and a worker is alive.")]
    saved: Annotated[
        bool, Field(description="Every write is in Postgres: none waits, none was refused, and every Redis was asked.")
    ]
    reads: Annotated[str, Field(pattern="^(redis|postgres)$", description="Where boards are read from now.")]
    queues: Annotated[
        list[QueueStatus], Field(description="One per region, but for those whose Redis does not answer.")
    ]
    workers: Annotated[list[WorkerStatus], Field(description="Seen in the last minute, latest first.")]
    redis: Annotated[list[RedisStatus], Field(description="Each Redis.")]
    postgres: Annotated[list[PostgresStatus], Field(description="Each region's database.")]
