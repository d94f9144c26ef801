"""`python -m tests.hostile --minutes 10`: exits with 1 when a gateway or a service has kept memory of the attacks."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.acceptance.cluster import Cluster, local_cluster
from tests.hostile.attacks import ATTACKS, Target
from tests.hostile.owner import Owner, Times

MOST_GROWTH = 1.3
"""Times its memory before, that a process may have after the attacks."""
_BASELINE_SECONDS = 20.0
_AFTERWARDS_SECONDS = 30.0
_ENVIRONMENT = {"USER_RATE_LIMIT_COUNT": "9000", "USER_RATE_LIMIT_WINDOW": "1", "ACCESS_LOG": "false"}


def resident(cluster: Cluster) -> dict[str, int]:
    """The KiB in memory of each gateway and service by name."""
    pids = {name: pid for name, pid in cluster.state["pids"].items() if name.startswith(("gateway-", "service-"))}
    found = {}
    for name, pid in sorted(pids.items()):
        shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True)
        found[name] = int(shown.stdout)
    return found


async def played(owner: Owner, seconds: float) -> Times:
    """Let the owner play alone."""
    until = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, until.set)
    return await owner.play(until)


async def attacked(owner: Owner, targets: list[Target], minutes: float) -> Times:
    """Let the owner play while each target is attacked in turn."""
    until = asyncio.Event()
    playing = asyncio.create_task(owner.play(until))
    end, rounds = time.monotonic() + minutes * 60, 0
    try:
        while time.monotonic() < end:
            for attack in ATTACKS:
                await asyncio.gather(*(attack(target) for target in targets))
            rounds += 1
            print(f"round {rounds}, {max(0.0, end - time.monotonic()):.0f} s to go", flush=True)
    finally:
        until.set()
        times = await playing
    return times


async def run(cluster: Cluster, minutes: float) -> int:
    owner = Owner(cluster.url)
    urls = cluster.state["urls"]
    targets = [Target(cluster.url), Target(urls["gateway-1"]), Target(urls["service-1"])]
    try:
        await owner.register()
        print("before:", (await played(owner, _BASELINE_SECONDS)).summary(), flush=True)
        before = resident(cluster)
        print("during:", (await attacked(owner, targets, minutes)).summary(), flush=True)
        print("after: ", (await played(owner, _AFTERWARDS_SECONDS)).summary(), flush=True)
        after = resident(cluster)
    finally:
        await owner.close()
    for name, target in zip(("NGINX", "gateway-1", "service-1"), targets, strict=True):
        for attack, answers in target.answers.items():
            print(f"  {name:10} {attack:10} {dict(answers)}")
    for name, kib in before.items():
        print(f"  {name:10} {kib / 1024:6.1f} MiB before, {after[name] / 1024:6.1f} MiB after")
    grown = [name for name, kib in before.items() if after[name] > kib * MOST_GROWTH]
    if grown:
        print(f"FAILED: {', '.join(grown)} kept more than {MOST_GROWTH} times their memory of before")
    return 1 if grown else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leaderboard-hostile-") as folder:
        Path(folder).chmod(0o755)  # Postgres may run as another user
        with local_cluster(Path(folder) / "data", "--quiet", environ=_ENVIRONMENT) as cluster:
            return asyncio.run(run(cluster, options.minutes))


if __name__ == "__main__":
    sys.exit(main())
