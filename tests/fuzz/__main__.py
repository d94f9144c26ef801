"""`python -m tests.fuzz [--streams 20000] [--seed 7] [--only 123]`: exits with 1 when something differs."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
import time

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import TestDatabases, admit, environment_on
from tests.fuzz.run import Report, fuzz
from tests.fuzz.servers import trios
from tests.fuzz.streams import make
from tests.support.infrastructure import infrastructure

_SHOWN = 20


async def run(seed: str, numbers: range, made: TestDatabases) -> Report:
    environ = environment_on(made)
    databases = await RegionDatabases.open(load(TopologySettings, environ))
    try:
        await admit(environ, databases)
        async with trios(environ) as both:
            return await fuzz(both, seed, numbers)
    finally:
        await databases.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--streams", type=int, default=20_000, help="half to the gateway, half to the service")
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--only", type=int, help="the number of one stream, to send and show it alone")
    options = parser.parse_args()
    numbers = range(options.streams) if options.only is None else range(options.only, options.only + 1)
    print(f"seed {options.seed}: {len(numbers)} streams to gateway and service", flush=True)
    if options.only is not None:
        for packet in make(f"{options.seed}:{options.only}", "player", "token").packets:
            print(f"  {packet!r}")
    begun = time.monotonic()
    with infrastructure(os.environ) as infra:
        made = TestDatabases(f"leaderboard_fuzz_{secrets.token_hex(4)}", infra)
        asyncio.run(made.make())
        report = asyncio.run(run(options.seed, numbers, made))
        asyncio.run(made.drop())
    seconds = time.monotonic() - begun
    print(f"{report.streams} streams, {report.answers} answers, {report.left_open} left open, {seconds:.0f} s")
    for reason, count in report.wanted.most_common():
        print(f"  wanted {count:6}: {reason}")
    for fault in report.faults[:_SHOWN]:
        print(fault)
    if report.faults:
        print(
            f"{len(report.faults)} differences; one again: python -m tests.fuzz --seed {options.seed} --only <number>"
        )
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
