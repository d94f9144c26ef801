"""Measure what partitions and clusters cost an operator: a failover of a node, and another number of partitions.

    make bench-growing                                   # 100,000 and 1,000,000 players
    python -m benchmarks.growing --players 10000 --only failover

The failover is that of `leaderboard up --redis-cluster 3`, whole and for real: a master is killed, and comes back from
its disk or is replaced; a master is paused, and a replica takes over. Repartitions go from one Redis to four and back
beside a service that is read all the while; the first is killed once and run again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machine import machine_facts
from benchmarks.one_service import RunRedis, one_service, start_redis
from benchmarks.recovery import console
from benchmarks.report import RESULTS, markdown_table
from benchmarks.scenarios import material_folder
from benchmarks.system import System, loaded_system
from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens
from tests.acceptance.cluster import command
from tests.support.waiting import wait_until

PARTS = ("failover", "repartition")
MASTERS, PARTITIONS = 3, 4
KILL_AT_READS = 3
_until = partial(wait_until, seconds=120)
PLAYERS_WRITTEN = 24
"""So many that each partition has some."""


class Writer:
    """Adds nothing to players of every partition, again and again, with a game server's token."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        items = [{"user_id": f"eu-{number:08d}", "region": "EU", "delta": 0} for number in range(PLAYERS_WRITTEN)]
        self._body = {"scores": items}

    def all_are_written(self) -> bool:
        try:
            answer = self._client.post("/scores", json=self._body)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["accepted"] == PLAYERS_WRITTEN


def failover(players: int, folder: Path) -> list[dict[str, Any]]:
    """Kill a master, pause another; return how long writes to some players and reads from Redis were away."""
    found = []
    with loaded_system(folder, players, "--redis-cluster", str(MASTERS)) as system:
        for what, number in (("killed", signal.SIGKILL), ("paused", signal.SIGSTOP)):
            _until(lambda: _is_whole(system), "a cluster with all its replicas")
            for name in _masters(system):
                _until(lambda: _is_whole(system), "a cluster with all its replicas")
                found.append({"what": what, "players": players, **_served_again(system, name, number)})
                console.print(f"  {what}: writes again after {found[-1]['writes_seconds']:.1f} s")
    return found


def _masters(system: System) -> list[str]:
    """The names in cluster.json of the nodes that are masters now."""
    service = next(url for name, url in system.cluster.state["urls"].items() if name.startswith("service-"))
    ports = {shard["server"].rpartition(":")[2] for shard in httpx.get(f"{service}/health").json()["redis"]}
    by_port = {str(port): name for name, port in system.cluster.state["ports"].items()}
    return sorted(by_port[port] for port in ports)


def _served_again(system: System, name: str, number: signal.Signals) -> dict[str, float]:
    tokens = Tokens(load(AuthSettings, {"JWT_SECRET_FILE": system.cluster.state["jwt_secret_file"]}))
    token = tokens.issue("bench", "bench", "GLOBAL", role="server")
    with httpx.Client(base_url=system.url, headers={"Authorization": f"Bearer {token}"}, timeout=10) as client:
        writer = Writer(client)
        if not writer.all_are_written():
            raise RuntimeError("not all players are written to before anything is done")
        pid = system.cluster.kill(name, number)
        started = time.monotonic()
        try:
            _until(lambda: not writer.all_are_written(), "a write that is refused")
            _until(writer.all_are_written, "writes to all players")
            writes = time.monotonic() - started
            _until(lambda: client.get("/top").headers.get("X-Leaderboard-Source") == "redis", "reads from Redis")
            return {"writes_seconds": writes, "reads_seconds": time.monotonic() - started}
        finally:
            if number == signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)


def _is_whole(system: System) -> bool:
    shards = httpx.get(f"{system.url}/status").json()["redis"]
    return all(shard["ok"] and shard.get("replicas") == 1 for shard in shards)


def repartition(players: int) -> list[dict[str, Any]]:
    """Spread players over four Redis, killed once on the way, and back; return the seconds, and who answered."""
    urls: list[str] = []

    def run(folder: Path, stack: ExitStack) -> dict[str, str]:
        urls.extend(start_redis(folder, stack, 1 + PARTITIONS))
        return {"REDIS_URL": urls[0]}

    found = []
    with one_service(players, RunRedis("one Redis", run)) as service:
        one, four = {**service.environ, "REDIS_URL": urls[0]}, {**service.environ, "REDIS_URL": ",".join(urls[1:])}
        with read_all_the_while(service.url) as answers:
            started = time.monotonic()
            process = _start(one, four["REDIS_URL"])
            _until(
                lambda: process.poll() is not None or answers["postgres"] > KILL_AT_READS, "some reads from Postgres"
            )
            process.kill()
            if killed := process.wait() != 0:
                _finish(one, four["REDIS_URL"])
            seconds = time.monotonic() - started
        entry = {"players": players, "from": 1, "to": PARTITIONS, "seconds": seconds, "killed": killed}
        found.append({**entry, "answers": dict(answers), "differences": _differences(four)})
        console.print(f"  1 → {PARTITIONS}: {seconds:.1f} s, {dict(answers)}")
        started = time.monotonic()
        _finish(four, one["REDIS_URL"])
        entry = {"players": players, "from": PARTITIONS, "to": 1, "seconds": time.monotonic() - started}
        found.append({**entry, "killed": False, "answers": {}, "differences": _differences(one)})
        console.print(f"  {PARTITIONS} → 1: {found[-1]['seconds']:.1f} s")
    return found


@contextmanager
def read_all_the_while(url: str) -> Iterator[Counter[str]]:
    """Read a board ten times a second; count by the store that answered, or the status."""
    answers: Counter[str] = Counter()
    ended = threading.Event()

    def read() -> None:
        with httpx.Client(base_url=url, timeout=10) as client:
            while not ended.wait(0.1):
                answer = client.get("/top", params={"limit": 10})
                answers[answer.headers.get("X-Leaderboard-Source") or str(answer.status_code)] += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield answers
    finally:
        ended.set()
        reader.join()


def _start(environ: dict[str, str], urls: str) -> subprocess.Popen[bytes]:
    path = {"PATH": os.environ.get("PATH", "")}
    return subprocess.Popen(command("repartition", urls, "--yes"), env={**path, **environ})


def _finish(environ: dict[str, str], urls: str) -> None:
    if code := _start(environ, urls).wait():
        raise RuntimeError(f"leaderboard repartition ended with {code}")


def _differences(environ: dict[str, str]) -> int:
    """What `leaderboard verify` finds: 0 when it exits well."""
    path = {"PATH": os.environ.get("PATH", "")}
    return subprocess.run(command("verify"), env={**path, **environ}, capture_output=True, check=False).returncode


def growing_markdown(found: dict[str, Any]) -> str:
    """Format failovers of a cluster's nodes, and repartitions."""
    failovers = [
        [f"{each['players']:,}", each["what"], f"{each['writes_seconds']:.1f}", f"{each['reads_seconds']:.1f}"]
        for each in found["failover"]
    ]
    repartitions = [
        [
            f"{each['players']:,}",
            f"{each['from']} → {each['to']}" + (", killed once" if each["killed"] else ""),
            f"{each['seconds']:.1f}",
            f"{each['seconds'] / each['players'] * 1e6:.1f}",
        ]
        for each in found["repartition"]
    ]
    return "\n\n".join(
        [
            markdown_table(
                ("players", "a master is", "writes again after s", "reads from Redis again after s"), failovers
            ),
            markdown_table(("players", "repartition", "s", "s a million"), repartitions),
        ]
    )


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    found = argparse.ArgumentParser("growing", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    found.add_argument("--players", type=int, nargs="+", default=[100_000, 1_000_000])
    found.add_argument("--only", choices=PARTS, help="one of the two parts")
    found.add_argument("--results", type=Path, default=RESULTS, help="folder for growing.json")
    return found


def main() -> int:
    """Measure, print the tables and write growing.json; return the exit code."""
    options = parser().parse_args()
    found: dict[str, Any] = {"machine": machine_facts(), "failover": [], "repartition": []}
    for players in options.players:
        if options.only in (None, "failover"):
            console.print(f"failovers with {players:,} players …")
            with tempfile.TemporaryDirectory() as name:
                found["failover"] += failover(players, material_folder(Path(name)))
        if options.only in (None, "repartition"):
            console.print(f"repartitions of {players:,} players …")
            found["repartition"] += repartition(players)
    print(growing_markdown(found))  # noqa: T201
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "growing.json").write_text(json.dumps(found, indent=2) + "\n")
    return 1 if any(entry["differences"] for entry in found["repartition"]) else 0


if __name__ == "__main__":
    sys.exit(main())
