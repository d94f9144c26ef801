"""Count the instructions that calls cost one service and Redis: on main, and on other boards beside it.

    python -m benchmarks.instructions                     # to results/instructions.json
    python -m benchmarks.instructions --calls 200 --players 2000

Needs Valgrind and Linux. Other work on the machine changes little of it, so that two versions can be told apart by a
few hundred calls: run it in a checkout of each. It counts what is done and not how long that takes; caches and the
kernel's part are not in it. No worker takes the events; calls come one after another.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from benchmarks.boards import BOARDS, Kind, Loads, kinds
from benchmarks.callgrind import Counted, missing
from benchmarks.machine import machine_facts
from benchmarks.one_service import OneService, one_service, redis_servers
from benchmarks.recovery import console
from benchmarks.report import RESULTS
from leaderboard_cli.cluster.server import Server

_WARM_UP_CALLS = 30


class OneWrite(HTTPConnection):
    """Sends a request's head and body in one write, as a gateway does: two would sometimes be read as two."""

    def __init__(self, url: str) -> None:
        super().__init__(url.removeprefix("http://"), timeout=600)
        self._gathered = b""

    def send(self, data: Any) -> None:
        self._gathered += data

    def getresponse(self) -> HTTPResponse:
        if self.sock is None:
            self.connect()
        gathered, self._gathered = self._gathered, b""
        self.sock.sendall(gathered)
        return super().getresponse()


def measured(service: OneService, counted: list[Counted], calls: int) -> dict[str, Any]:
    """Fill the boards of a service and count each kind of call."""
    loads = Loads(service, calls)
    loads.prepare()
    found: dict[str, dict[str, int]] = {}
    with closing(OneWrite(service.url)) as http:
        for kind in kinds():
            _send(http, loads, kind, _WARM_UP_CALLS)
            for server in counted:
                server.start()
            _send(http, loads, kind, calls)
            found[kind.name] = {server.name: server.stop() // calls for server in counted}
            console.print(f"  {kind.name}: {found[kind.name]}")
    return {
        kind.name: {
            **found[kind.name],
            "ratio": {name: round(count / found[kind.than][name], 3) for name, count in found[kind.name].items()},
        }
        for kind in kinds()
    }


def _send(http: OneWrite, loads: Loads, kind: Kind, count: int) -> None:
    for _ in range(count):
        method, path, body, headers = loads.next_call(kind)
        sent = None if body is None else json.dumps(body).encode()
        http.request(method, path, sent, {**headers, "Content-Type": "application/json"})
        answer = http.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{kind.name}: {answer.status} {text[:500]!r}")


def markdown(calls: dict[str, Any]) -> str:
    """Write the counts as a table."""
    lines = ["| call | service, 1,000 instructions | Redis | against `main` |", "|---|---|---|---|"]
    for name, one in calls.items():
        service, redis = (f"{one[part] / 1000:,.0f}" for part in ("service-1", "redis-1"))
        ratio = f"{one['ratio']['service-1']:.3f}, Redis {one['ratio']['redis-1']:.3f}"
        lines.append(f"| {name} | {service} | {redis} | {ratio} |")
    return "\n".join(lines)


def main() -> int:
    """Count, print the table, write JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        "instructions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--players", type=int, default=2_000)
    parser.add_argument("--calls", type=int, default=300, help="of each kind")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args()
    if problem := missing():
        sys.stderr.write(problem + "\n")
        return 1
    counted: list[Counted] = []

    def count(server: Server, folder: Path) -> Server:
        counted.append(Counted(server, folder / "callgrind"))
        return counted[-1]

    console.print(f"{options.players:,} players, {len(BOARDS)} boards, under valgrind …")
    with one_service(options.players, redis_servers(1, count), count) as service:
        calls = measured(service, counted, options.calls)
    print(markdown(calls))  # noqa: T201
    options.results.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine_facts(), "players": options.players, "calls_each": options.calls, "calls": calls}
    (options.results / "instructions.json").write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
