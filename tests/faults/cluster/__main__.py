"""`python -m tests.faults.cluster --kills 100 [--seed 7]`: kill masters of a cluster under load until a write is lost.

With `--wait-replicas 0`, `--no-fsync` or `--appendfsync everysec` it counts what is lost instead, by the kind of kill.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.cluster.losses import CountingLedger, Losses
from tests.faults.cluster.scenarios import COUNTED, MASTERS
from tests.faults.cluster.system import Keeping, system_on_a_cluster
from tests.faults.harness import Harness
from tests.faults.run import Run, run_scenario
from tests.faults.soak import say
from tests.faults.verification import consistent, saved_scores, settled

_KILLS_A_ROUND = 10
_FAILED = "FAILED: again with --seed"


def keep(keeping: Keeping, kills: int, seed: int) -> int:
    """Kill masters; return 1 at the first acknowledged write that is lost or doubled, or wrong answer."""
    total, acknowledged, began = Counter[str](), 0, time.monotonic()
    with _folder() as folder, system_on_a_cluster(folder, keeping) as system:
        while total.total() < kills:
            number = min(_KILLS_A_ROUND, kills - total.total())
            result = asyncio.run(run_scenario(system, MASTERS, seed, kills=number))
            total += result.kills
            acknowledged += result.acknowledged
            say(f"{total.total()} of {kills} kills, {time.monotonic() - began:.0f} s: {result.summary()}")
            if result.violations:
                say(f"{result.evidence()}\n{_FAILED} {seed}")
                return 1
            seed += 1
    say(f"{total.total()} kills {dict(total)}, {acknowledged} writes acknowledged, none lost, none doubled")
    return 0


def count(keeping: Keeping, kills: int, seed: int) -> int:
    """Kill masters, each kind in turn, and count the writes that are lost; return 1 for any other problem."""
    with _folder() as folder, system_on_a_cluster(folder, keeping, CountingLedger) as system:
        ledger = system.ledger
        assert isinstance(ledger, CountingLedger)
        losses = Losses(0, 0, 0)

        async def judge(harness: Harness) -> None:
            nonlocal losses
            await settled(harness)
            await consistent(harness)
            losses = ledger.losses(await saved_scores(harness.system))

        for index, scenario in enumerate(COUNTED):
            before, number = losses, kills // len(COUNTED)
            result: Run = asyncio.run(run_scenario(system, scenario, seed + index, kills=number, judge=judge))
            if result.violations:
                say(f"{result.evidence()}\n{_FAILED} {seed}")
                return 1
            found = losses.since(before)
            say(
                f"{scenario.name}: {result.kills.total()} kills {dict(result.kills)}, {found.acknowledged} writes "
                f"acknowledged, {found.lost} lost, {found.doubled} doubled"
            )
        say(f"in all {losses.lost} lost of {losses.acknowledged}, {ledger.contradictions} answers showed it")
    return 0


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="leaderboard-ledger-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres may run as another user
        yield folder


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.cluster", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of masters")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; each further one adds one")
    parser.add_argument("--wait-replicas", type=int, choices=(0, 1), default=1, help="REDIS_WAIT_REPLICAS")
    parser.add_argument("--no-fsync", action="store_true", help="without REDIS_WAIT_FSYNC")
    parser.add_argument("--appendfsync", choices=("always", "everysec"), default="always", help="of every node")
    chosen = parser.parse_args()
    keeping = Keeping(chosen.wait_replicas, bool(chosen.wait_replicas) and not chosen.no_fsync, chosen.appendfsync)
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    say(f"seed {seed}, {chosen.kills} kills, {keeping}")
    return (keep if keeping.loses_nothing else count)(keeping, chosen.kills, seed)


if __name__ == "__main__":
    sys.exit(main())
