"""Run one pair of faults under load, and write what the clients saw."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.chaos import Chaos
from tests.faults.harness import Harness
from tests.faults.ledger import Ledger
from tests.faults.system import REGIONS, STORE_ERRORS, SystemUnderTest
from tests.history.durability import Mark, ReturnedError, losses
from tests.history.faults import FAULTS, ONE_AFTER_THE_OTHER, Pair
from tests.history.load import HistoryLoad
from tests.history.operations import History, Loss
from tests.history.watching import Canary, Snapshots

_PLAYERS = 32
_WRITES_BEFORE, _WRITES_AFTER, _WRITES_SECONDS = 40, 40, 15.0
_FAULT_SECONDS, _RUN_SECONDS = 60.0, 300.0
_LATEST_SECOND_FAULT_SECONDS = 1.2
_SHOWN_EVENTS = 40


class MarkingLedger(Ledger):
    """A ledger that tells when everything acknowledged is in Postgres."""

    def __init__(self, saved: Callable[[], None]) -> None:
        super().__init__(REGIONS)
        self._saved = saved

    def all_is_saved(self) -> None:
        super().all_is_saved()
        self._saved()


@dataclass
class Recording:
    """What a run recorded. `problems` were seen without the checker: a broken guarantee, or no recovery in time.

    `unclear` says why nothing can be said about the history.
    """

    pair: Pair
    seed: int
    path: Path
    operations: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    event_log: list[str] = field(default_factory=list)
    unclear: str = ""

    def evidence(self) -> str:
        """Give the problems, the answers by kind, the losses and the end of the event log."""
        lines = [f"PROBLEM {problem}" for problem in self.problems]
        lines += [f"answers: {dict(sorted(self.answers.items()))}"]
        lines += [
            f"life {loss.number + 1} of Redis began at {loss.start / 1e9:.3f} to {loss.end / 1e9:.3f} s, kept what "
            f"had ended at {loss.since / 1e9:.3f} s, {'lost' if loss.seen else 'lost nothing of'} acknowledged beats"
            for loss in self.losses
        ]
        return "\n".join([*lines, *(f"  {line}" for line in self.event_log[-_SHOWN_EVENTS:])])


class Runner:
    """Run pairs on one cluster; each run has players of its own."""

    def __init__(self, system: SystemUnderTest, pair: Pair, seed: int, folder: Path) -> None:
        self._history = History()
        self._marks: list[Mark] = []
        self._pair = pair
        name = f"{seed}-{pair[0]}-{pair[1]}".replace(" ", "-").lower()
        self._recording = Recording(pair, seed, folder / f"{name}.jsonl")
        self._ledger = MarkingLedger(self._mark)
        self._system = dataclasses.replace(system, ledger=self._ledger)
        self._rng = random.Random(f"{seed} {pair}")
        urls = system.cluster.state["urls"]
        doors = {name: url for name, url in urls.items() if name.partition("-")[0] in ("service", "gateway")}
        doors["nginx"] = system.cluster.url
        load_rng = random.Random(f"{seed} {pair} load")
        self._load = HistoryLoad(doors, self._ledger, system.tokens, load_rng, self._history)
        self._chaos = Chaos(system.cluster, random.Random(f"{seed} {pair} chaos"))
        self._harness = Harness(self._system, self._chaos, self._load)

    async def run(self) -> Recording:
        """Run the pair and write its history; what goes wrong is in the result, never raised."""
        recording = self._recording
        canary = Canary(self._system, self._history.now)
        snapshots = Snapshots(self._system, self._history.now, [])
        try:
            async with asyncio.timeout(_RUN_SECONDS):
                await self._prepare()
                snapshots = Snapshots(self._system, self._history.now, [one.user_id for one in self._load.players])
                await self._under_watch(canary, snapshots)
        except AssertionError as error:  # a Violation, or a wait that timed out
            recording.problems.append(str(error))
        except TimeoutError:
            recording.problems.append(f"the run did not end within {_RUN_SECONDS:.0f} s")
        recording.problems += self._ledger.violations
        recording.answers, recording.event_log = self._ledger.answers, self._chaos.event_log
        recording.operations = Counter(f"{one.kind} {one.outcome} {one.source}" for one in self._history.operations)
        try:
            recording.losses = losses(canary.lives, self._marks, snapshots.taken)
        except ReturnedError as error:
            recording.unclear = str(error)
            return recording
        about = {"faults": self._pair, "seed": recording.seed, "events": recording.event_log}
        lines = self._history.lines(recording.losses, about)
        recording.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return recording

    def _mark(self) -> None:
        self._marks.append(Mark(self._load.quiet_since(), self._chaos.pid("redis")))

    async def _prepare(self) -> None:
        """Make the players and wait until they are saved: no fault may take one away."""
        await self._load.make_players(_PLAYERS)
        await self._harness.drained()

    async def _under_watch(self, canary: Canary, snapshots: Snapshots) -> None:
        try:
            async with asyncio.TaskGroup() as watches:
                watches.create_task(canary.run())
                watches.create_task(snapshots.run())
                try:
                    await self._under_load()
                finally:
                    # Not cancelled: what they are in the middle of tells as much as the rest.
                    canary.stop()
                    snapshots.stop()
        except* AssertionError as errors:
            raise AssertionError("; ".join(str(error) for error in errors.exceptions)) from errors

    async def _under_load(self) -> None:
        load = asyncio.create_task(self._load.run())
        harness = self._harness
        try:
            await harness.more_writes(_WRITES_BEFORE, seconds=_WRITES_SECONDS)
            await self._inject()
            await harness.more_writes(_WRITES_AFTER, seconds=_WRITES_SECONDS)
            self._load.stop()
            await load
            await harness.healthy(*self._system.cluster.state["pids"])
            await harness.drained()
            await self._load.read_everything()
        finally:
            self._load.stop()
            load.cancel()
            await asyncio.wait([load])

    async def _inject(self) -> None:
        """Inject both faults, the second while the first is under way."""
        first, second = self._rng.sample(self._pair, 2)
        try:
            if {first, second} <= ONE_AFTER_THE_OTHER:
                await self._inject_one(first)
                await self._inject_one(second)
                return
            async with asyncio.TaskGroup() as group:
                group.create_task(self._inject_one(first))
                await asyncio.sleep(self._rng.uniform(0, _LATEST_SECOND_FAULT_SECONDS))
                group.create_task(self._inject_one(second))
        finally:
            self._chaos.thaw_all()

    async def _inject_one(self, name: str) -> None:
        """Inject a fault; it breaks off where the other one makes it impossible."""
        self._chaos.log(f"begin: {name}")
        try:
            async with asyncio.timeout(_FAULT_SECONDS):
                await FAULTS[name](self._harness)
        except (*STORE_ERRORS, AssertionError, ValueError) as error:
            self._chaos.log(f"broke off: {name}: {error!r}")
        self._chaos.log(f"end: {name}")
