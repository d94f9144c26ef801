"""`python -m tests.faults.soak --minutes 5 [--seed 7] [--scenario redis]`: run random seeds until one fails."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.run import Run, run_scenario
from tests.faults.scenarios import EVERYTHING, SCENARIOS, Scenario
from tests.faults.system import running_system

_KILLS = 12
_ROUNDS_PER_CLUSTER = 5


def say(text: str) -> None:
    """Print a line and flush it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def keep_logs(data_dir: Path, seed: int) -> Path:
    """Copy the logs of a failed round, which go with its folder, to where they stay."""
    kept = Path(".local", "soak", str(seed))
    shutil.copytree(data_dir / "logs", kept, dirs_exist_ok=True)
    return kept


def soak(minutes: float, seed: int, scenarios: tuple[Scenario, ...], kills: int) -> int:
    """Run scenarios until the time is over; return 1 at the first violation."""
    until = time.monotonic() + minutes * 60
    total, rounds, acknowledged = Counter[str](), 0, 0
    say(f"seed {seed}, {minutes:g} minutes")
    while time.monotonic() < until:
        with tempfile.TemporaryDirectory(prefix="leaderboard-soak-") as folder:
            Path(folder).chmod(0o755)  # Postgres may run as another user
            with running_system(Path(folder)) as system:
                for _ in range(_ROUNDS_PER_CLUSTER):
                    scenario = scenarios[rounds % len(scenarios)]
                    result: Run = asyncio.run(run_scenario(system, scenario, seed + rounds, kills=kills))
                    rounds += 1
                    total += result.kills
                    acknowledged += result.acknowledged
                    say(f"round {rounds}: {result.summary()}")
                    if result.violations:
                        say(result.evidence())
                        kept = keep_logs(system.cluster.data_dir, result.seed)
                        say(f"the logs are kept in {kept}")
                        say(f"FAILED: repeat with --seed {result.seed} --scenario '{scenario.name}'")
                        return 1
                    if time.monotonic() > until:
                        break
    say(f"{rounds} rounds, {total.total()} kills {dict(total)}, {acknowledged} writes acknowledged, nothing found")
    return 0


def main() -> int:
    """Read the options and soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None, help="of the first run; each further run adds one")
    parser.add_argument("--scenario", choices=[scenario.name for scenario in SCENARIOS], default=None)
    parser.add_argument("--kills", type=int, default=_KILLS, help="least kills in a run")
    chosen = parser.parse_args()
    scenarios = tuple(one for one in SCENARIOS if one.name == chosen.scenario) or (*SCENARIOS, EVERYTHING)
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    return soak(chosen.minutes, seed, scenarios, chosen.kills)


if __name__ == "__main__":
    sys.exit(main())
