"""`python -m tests.history [--seed 7] [--pair 'Redis killed' 'service paused']`: run pairs of faults, check each."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.faults.soak import say
from tests.faults.system import SystemUnderTest, running_system
from tests.history.faults import FAULTS, PAIRS, Pair
from tests.history.porcupine import LINEARIZABLE, NOT_LINEARIZABLE, Checker, CheckerError
from tests.history.run import Recording, Runner

_PAIRS_PER_CLUSTER = 25
_TRIES = 3
DEFAULT_FOLDER = Path(".local/history")


class Systems:
    """Hand out a running cluster, a new one after some runs or when one was broken."""

    def __init__(self, stack: ExitStack) -> None:
        self._outer = stack
        self._stack: ExitStack | None = None
        self._system: SystemUnderTest | None = None
        self._runs = 0

    def get(self) -> SystemUnderTest:
        if self._system is None or self._runs >= _PAIRS_PER_CLUSTER:
            self.renew()
            self._stack = self._outer.enter_context(ExitStack())
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="leaderboard-history-")))
            folder.chmod(0o755)  # Postgres may run as another user
            self._system = self._stack.enter_context(running_system(folder))
        self._runs += 1
        return self._system

    def keep_logs(self, folder: Path) -> Path:
        """Copy the logs of the running cluster's processes, which end with it."""
        folder.mkdir(exist_ok=True)
        if self._system is not None:
            for log in self._system.cluster.state["logs"].values():
                shutil.copy(log, folder)
        return folder

    def renew(self) -> None:
        """Stop the cluster; the next run gets a new one."""
        if self._stack is not None:
            self._stack.close()
        self._stack, self._system, self._runs = None, None, 0


def check_pairs(pairs: Sequence[Pair], seed: int, folder: Path) -> int:
    """Record and check each pair; return 1 when one was refused, or could not be judged."""
    folder.mkdir(parents=True, exist_ok=True)
    bad: list[str] = []
    operations, began = Counter[str](), time.monotonic()
    with ExitStack() as stack:
        build = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leaderboard-checker-")))
        checker = Checker.build(build)
        say(checker.try_examples())
        say(f"seed {seed}, {len(pairs)} pairs of faults, histories in {folder}")
        systems = Systems(stack)
        for number, pair in enumerate(pairs, start=1):
            for recording in _tries(systems, pair, seed + number - 1, folder):
                operations += recording.operations
                verdict = _judge(checker, recording)
                say(f"{number}/{len(pairs)}, {time.monotonic() - began:.0f} s, {' + '.join(pair)}: {verdict}")
            if verdict.startswith("linearizable"):
                recording.path.unlink()
                continue
            say(recording.evidence())
            say(f"logs in {systems.keep_logs(recording.path.with_suffix('.logs'))}")
            bad.append(f"--seed {recording.seed} --pair '{pair[0]}' '{pair[1]}'")
            systems.renew()
    done = dict(sorted(operations.items()))
    say(f"{len(pairs)} pairs, {operations.total()} operations in {time.monotonic() - began:.0f} s: {done}")
    if bad:
        say("\n".join([f"FAILED: {len(bad)}; again with", *bad]))
        return 1
    say("every history is linearizable")
    return 0


def _tries(systems: Systems, pair: Pair, seed: int, folder: Path) -> Iterator[Recording]:
    """Run a pair, again where nothing can be said about its history."""
    for _ in range(_TRIES):
        recording = asyncio.run(Runner(systems.get(), pair, seed, folder).run())
        yield recording
        if not recording.unclear:
            return


def _judge(checker: Checker, recording: Recording) -> str:
    if recording.unclear:
        return f"UNCLEAR, {recording.unclear}"
    code, output = checker.check(recording.path, show=True)
    word = {LINEARIZABLE: "linearizable", NOT_LINEARIZABLE: "NOT LINEARIZABLE"}.get(code, "NO VERDICT")
    if code == LINEARIZABLE and recording.problems:
        word = "NOT AS PROMISED, though linearizable"
    broken_off = sum("broke off" in line for line in recording.event_log)
    note = f", {broken_off} broke off" if broken_off else ""
    return f"{word}: seed {recording.seed}, {output}{note}"


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.history", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the first pair; each further pair adds one")
    parser.add_argument("--pair", nargs=2, choices=list(FAULTS), default=None, help="this pair only")
    parser.add_argument("--first", type=int, default=1, help="number of the first pair of all that is run")
    parser.add_argument("--last", type=int, default=len(PAIRS), help="number of the last one")
    parser.add_argument("--times", type=int, default=1, help="how often each pair is run")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where histories that are refused stay")
    chosen = parser.parse_args()
    pairs = [(chosen.pair[0], chosen.pair[1])] if chosen.pair else list(PAIRS[chosen.first - 1 : chosen.last])
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    try:
        return check_pairs(pairs * chosen.times, seed, chosen.folder)
    except CheckerError as error:
        say(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
