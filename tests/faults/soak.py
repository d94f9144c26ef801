"""`python -m tests.faults.soak --minutes 5 [--seed 7] [--schedule redis]`: rounds from random seeds till one fails."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.rounds import Round, play
from tests.faults.schedules import EVERYTHING, SCHEDULES, Schedule
from tests.faults.world import running_world

_KILLS = 12
_ROUNDS_PER_CLUSTER = 5


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def soak(minutes: float, seed: int, schedules: tuple[Schedule, ...], kills: int) -> int:
    """Play rounds until the time is over; 1 at the first violation."""
    until = time.monotonic() + minutes * 60
    total, rounds, acknowledged = Counter[str](), 0, 0
    say(f"seed {seed}, {minutes:g} minutes")
    while time.monotonic() < until:
        with tempfile.TemporaryDirectory(prefix="leaderboard-soak-") as folder:
            Path(folder).chmod(0o755)  # Postgres may run as another user
            with running_world(Path(folder)) as world:
                for _ in range(_ROUNDS_PER_CLUSTER):
                    schedule = schedules[rounds % len(schedules)]
                    played: Round = asyncio.run(play(world, schedule, seed + rounds, kills=kills))
                    rounds += 1
                    total += played.kills
                    acknowledged += played.acknowledged
                    say(f"round {rounds}: {played.summary()}")
                    if played.violations:
                        say(played.evidence())
                        say(f"FAILED: repeat with --seed {played.seed} --schedule '{schedule.name}'")
                        return 1
                    if time.monotonic() > until:
                        break
    say(f"{rounds} rounds, {total.total()} kills {dict(total)}, {acknowledged} writes acknowledged, nothing found")
    return 0


def main() -> int:
    """Read the options and soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None, help="the first round's; each further round adds one")
    parser.add_argument("--schedule", choices=[schedule.name for schedule in SCHEDULES], default=None)
    parser.add_argument("--kills", type=int, default=_KILLS, help="least kills in a round")
    chosen = parser.parse_args()
    schedules = tuple(one for one in SCHEDULES if one.name == chosen.schedule) or (*SCHEDULES, EVERYTHING)
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    return soak(chosen.minutes, seed, schedules, chosen.kills)


if __name__ == "__main__":
    sys.exit(main())
