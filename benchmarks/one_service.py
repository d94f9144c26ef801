"""Measure what a call costs one service and Redis, without gateway and NGINX."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cpu import children_running, cpu_seconds, microseconds_each
from benchmarks.floor import REPOSITORY
from benchmarks.material import write_material
from benchmarks.recovery import console, load_postgres
from benchmarks.scenarios import SCENARIOS, WARM_UP_SECONDS, material_folder
from benchmarks.system import ENVIRONMENT, with_stores
from benchmarks.wrk import Load, run_wrk
from leaderboard_cli.cluster.binaries import Servers, find_postgres, find_redis
from leaderboard_cli.cluster.plan import AppServer
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.redis_cluster import RedisCluster, RedisNode
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import Server, running
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.migrations import migrate_all
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import AuthSettings, TopologySettings, WorkerSettings, load
from worker_service.recovery.rebuild import rebuild

REGIONS = ("ASIA", "EU", "NA", "GLOBAL")
CLUSTER_MASTERS = 3
START_SECONDS = 300
PATIENT = {"REDIS_TIMEOUT_SECONDS": "60", "START_TIMEOUT_SECONDS": str(START_SECONDS)}
"""For servers that run in a way which slows them down."""
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@dataclass(frozen=True)
class OneService:
    """A running service; `environ` names its Redis servers and databases."""

    url: str
    folder: Path
    environ: Mapping[str, str]
    players: int
    pids: Mapping[str, list[int]]

    def measure(self, name: str, *, connections: int, seconds: float) -> dict[str, Any]:
        """Measure one scenario: rate, CPU µs per request, and Redis' own time per script call."""
        scenario = BY_NAME[name]
        width = scenario.connections(connections)
        environ = dict(self.environ)

        def load_it(seconds: float) -> Load:
            return run_wrk(name, self.url, self.folder, connections=width, seconds=seconds)

        load_it(min(WARM_UP_SECONDS, seconds))
        with_stores(environ, reset)
        before = cpu_seconds(self.pids)
        found = load_it(seconds)
        cpu_us = microseconds_each(before, cpu_seconds(self.pids), found.requests)
        calls, micros, median = with_stores(environ, script_calls)
        return {
            "scenario": name,
            "title": scenario.title,
            "rate": found.rate,
            "p50_ms": found.p50_ms,
            "p99_ms": found.p99_ms,
            "errors": found.errors,
            "cpu_us": cpu_us,
            "redis_us_median_call": median,
            "redis_us_mean_call": micros / max(calls, 1),
            "script_calls_per_request": calls / max(found.requests, 1),
        }


class RunRedis(NamedTuple):
    """`run` runs Redis until the stack ends, and returns the settings that say where it is."""

    where: str
    run: Callable[[Path, ExitStack], Mapping[str, str]]


RunUnder = Callable[[Server, Path], Server]
"""Returns a server that runs another one in a way of its own, with files in a folder."""


def as_it_is(server: Server, folder: Path) -> Server:
    del folder
    return server


def start_redis(folder: Path, stack: ExitStack, count: int, run_under: RunUnder = as_it_is) -> list[str]:
    """Run so many Redis until the stack ends; return their URLs."""
    urls = []
    for number, port in enumerate(find_free_ports(count), 1):
        server = RedisServer(find_redis(Servers.WHEELS), folder / f"redis-{number}", port, name=f"redis-{number}")
        stack.enter_context(running(run_under(server, folder), deadline_seconds=START_SECONDS))
        urls.append(server.url)
    return urls


def redis_servers(count: int, run_under: RunUnder = as_it_is) -> RunRedis:
    """Run servers over which the regions alternate."""

    def run(folder: Path, stack: ExitStack) -> Mapping[str, str]:
        urls = start_redis(folder, stack, count, run_under)
        return {f"REDIS_URL_{region}": urls[place % count] for place, region in enumerate(REGIONS)}

    return RunRedis(f"{count} Redis", run)


def redis_partitions(count: int) -> RunRedis:
    """Run a cluster of `CLUSTER_MASTERS` masters without replicas, and spread the players over `count` partitions."""

    def run(folder: Path, stack: ExitStack) -> Mapping[str, str]:
        ports = find_free_ports(2 * CLUSTER_MASTERS)
        nodes = tuple(
            RedisNode(find_redis(Servers.WHEELS), folder, port, f"redis-{number}", bus_port=bus_port)
            for number, (port, bus_port) in enumerate(zip(ports[::2], ports[1::2], strict=True), 1)
        )
        for node in nodes:
            stack.enter_context(running(node))
        cluster = RedisCluster(nodes, CLUSTER_MASTERS)
        cluster.form()
        return {"REDIS_URL": cluster.url(count)}

    return RunRedis(f"{count} partitions of a cluster", run)


@contextmanager
def one_service(players: int, run_redis: RunRedis, run_under: RunUnder = as_it_is) -> Iterator[OneService]:
    """Run Redis, a Postgres and a service, with `players` on the boards."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = material_folder(Path(name))
        postgres_port, port = find_free_ports(2)
        stores = run_redis.run(folder, stack)
        stack.enter_context(running(PostgresServer(find_postgres(Servers.WHEELS), folder, postgres_port)))
        environ = {"POSTGRES_PORT": str(postgres_port), "JWT_SECRET": secrets.token_hex(32), **PATIENT, **stores}
        with_stores(environ, lambda shards, databases: fill(environ, shards, databases, players))
        write_material(folder, load(AuthSettings, environ), REGIONS, players)
        ours = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(REPOSITORY), "LOG_LEVEL": "WARNING"}
        service = AppServer("service-1", "leaderboard_service", port, folder, {**ours, **ENVIRONMENT, **environ})
        stack.enter_context(running(run_under(service, folder), deadline_seconds=START_SECONDS))
        pids = {
            "service": children_running("leaderboard_service"),
            "redis": children_running(find_redis(Servers.WHEELS).path.name),
        }
        yield OneService(service.url, folder, environ, players, pids)


async def fill(environ: Mapping[str, str], shard_map: ShardMap, databases: RegionDatabases, players: int) -> None:
    """Make the tables, put `players` into them, and rebuild Redis from them."""
    await migrate_all(load(TopologySettings, environ))
    await load_postgres(databases, players)
    console.print("filling Redis …")
    for shard in shard_map.shards:
        await rebuild(shard, databases, load(WorkerSettings, environ), whole=True)


async def reset(shard_map: ShardMap, _: RegionDatabases) -> None:
    """Reset the statistics, and delete the events, which no worker takes here."""
    for shard in shard_map.shards:
        await shard.command("CONFIG", "RESETSTAT")
        await shard.command("DEL", *(shard.keys.queue(region) for region in shard.regions))


async def script_calls(shard_map: ShardMap, _: RegionDatabases) -> tuple[int, float, float]:
    """Return EVALSHA since the reset, on all servers: calls, total µs, µs of the median call.

    Redis measures by the wall clock, so that the mean also counts the moments when it had to wait for a core; the
    median does not.
    """
    calls, micros, medians = 0, 0.0, 0.0
    for shard in shard_map.shards:
        said = (await shard.command("INFO", "commandstats")).get("cmdstat_evalsha")
        if said:
            percentiles = (await shard.command("INFO", "latencystats"))["latency_percentiles_usec_evalsha"]
            calls, micros = calls + int(said["calls"]), micros + float(said["usec"])
            medians += int(said["calls"]) * float(percentiles["p50"])
    return calls, micros, medians / max(calls, 1)
