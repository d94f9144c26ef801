"""Start one worker: migrations, then a consumer per queue until told to stop, and the builds of indexes beside them."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from functools import partial

from leaderboard_core.backoff import keep_running
from leaderboard_core.http.serving import run, serve, wait_for
from leaderboard_core.postgres.databases import RegionDatabases, pooler_errors_explained
from leaderboard_core.postgres.migrations import build_indexes, migrate_all
from leaderboard_core.redis.acknowledging import check_waits
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import ProcessSettings, SettingsError, TopologySettings, WorkerSettings, load
from leaderboard_core.telemetry.health import log_warnings
from leaderboard_core.telemetry.metrics import TASK_FAILURES
from worker_service.app import NAME, create_app
from worker_service.health import WorkerHealth
from worker_service.recovery.layout import check_layout
from worker_service.recovery.regions import RegionsChanged, check_regions
from worker_service.services import CONSUMER, DEFINITIONS, HEARTBEAT, INDEXES, SWEEP, build

log = logging.getLogger(__name__)


async def main(process: ProcessSettings) -> None:
    """Check the settings and the servers, migrate, then consume until told to stop."""
    topology, settings = load(TopologySettings), load(WorkerSettings)
    shard_map, databases = ShardMap.open(topology), await RegionDatabases.open(topology)
    try:
        await wait_for(
            shard_map.wait_until_reachable, databases.wait_until_reachable, seconds=process.start_timeout_seconds
        )
        await check_waits(shard_map.shards)
        await log_warnings(shard_map)
        await migrate_all(topology, create_databases=False, indexes=False)
        try:
            with pooler_errors_explained():
                await check_regions(databases)
                await check_layout(shard_map.shards, databases)
        except RegionsChanged as problem:
            raise SettingsError(str(problem)) from problem
        await _work(process, topology, settings, shard_map, databases)
    finally:
        await shard_map.close()
        await databases.close()


async def _work(
    process: ProcessSettings,
    topology: TopologySettings,
    settings: WorkerSettings,
    shard_map: ShardMap,
    databases: RegionDatabases,
) -> None:
    # A name is never used twice: a processing list belongs to one incarnation of one process.
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    stop = asyncio.Event()
    worker = build(name, topology, settings, shard_map, databases, stop)
    for heartbeat in worker.heartbeats:
        await heartbeat.beat()
    log.info("consuming", extra={"worker": name, "regions": list(shard_map.regions)})
    app = create_app(process, WorkerHealth(name, shard_map, databases, stop))
    app.on_stop(stop.set)

    refused: BaseException | None = None

    def count_failure(task: str) -> None:
        TASK_FAILURES.labels(task).inc()

    try:
        async with asyncio.TaskGroup() as group:
            server = group.create_task(serve(app, process, on_stop=app.announce_stop))
            server.add_done_callback(lambda _: stop.set())
            for heartbeat in worker.heartbeats:
                group.create_task(keep_running(HEARTBEAT, heartbeat.run, stop, count_failure))
            for consumer in worker.consumers:
                group.create_task(keep_running(CONSUMER, consumer.run, stop, count_failure, fatal=(SettingsError,)))
            group.create_task(keep_running(DEFINITIONS, worker.converger.run, stop, count_failure))
            group.create_task(keep_running(SWEEP, worker.sweeper.run, stop, count_failure))
            indexes = partial(build_indexes, topology, stop)
            group.create_task(keep_running(INDEXES, indexes, stop, count_failure))
    except* SettingsError as problems:
        refused = problems.exceptions[0]  # raised in here it would be in a group again
    finally:
        await worker.rebuilder.close()
    if refused is not None:
        raise refused
    log.info("stopped", extra={"worker": name})


def start() -> None:
    """Run the process until it ends."""
    run(NAME, main, default_port=5100)


if __name__ == "__main__":
    start()
