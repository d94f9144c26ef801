"""Run one scenario: load, injections, then the verification of what is left."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.faults.chaos import Chaos
from tests.faults.harness import Harness
from tests.faults.load import LoadGenerator
from tests.faults.scenarios import Scenario
from tests.faults.system import STORE_ERRORS, SystemUnderTest
from tests.faults.verification import verify

_WRITES_BEFORE, _WRITES_BETWEEN = 60, 25
_MOST_INJECTIONS = 40
_RUN_SECONDS = 400.0
_SHOWN_PROBLEMS, _SHOWN_EVENTS = 12, 60


@dataclass
class Run:
    """What a run did and found. `violations` is empty when every guarantee held."""

    scenario: str
    seed: int
    acknowledged: int = 0
    players: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    pauses: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    event_log: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Describe the run in one line."""
        return (
            f"seed {self.seed}, {self.scenario}: {self.kills.total()} kills {dict(self.kills)}, "
            f"pauses {dict(self.pauses)}, {self.acknowledged} writes acknowledged, {self.players} players, "
            f"{len(self.violations)} violations"
        )

    def evidence(self) -> str:
        """Give the summary, the answers by kind, the first violations and the end of the event log."""
        lines = [self.summary(), f"answers: {dict(sorted(self.answers.items()))}"]
        lines += [f"VIOLATION {problem}" for problem in self.violations[:_SHOWN_PROBLEMS]]
        return "\n".join([*lines, *(f"  {line}" for line in self.event_log[-_SHOWN_EVENTS:])])


async def run_scenario(
    system: SystemUnderTest,
    scenario: Scenario,
    seed: int,
    *,
    kills: int,
    clients: int = 12,
    judge: Callable[[Harness], Awaitable[None]] = verify,
) -> Run:
    """Run one scenario with at least `kills` kills, then judge; violations are in the result, never raised."""
    ledger = system.ledger
    ledger.answers.clear()
    ledger.violations.clear()
    acknowledged, players = ledger.acknowledged, len(ledger.players)
    chaos = Chaos(system.cluster, random.Random(f"{seed} chaos"))
    load = LoadGenerator(system.cluster.url, ledger, system.tokens, random.Random(f"{seed} load"), clients=clients)
    harness = Harness(system, chaos, load)
    violations: list[str] = []
    try:
        async with asyncio.timeout(_RUN_SECONDS):
            await _inject_faults(harness, scenario, kills)
            if not ledger.violations:
                await judge(harness)
    except AssertionError as error:  # a Violation, or a wait that timed out
        violations.append(str(error))
    except TimeoutError:
        violations.append(f"the run did not end within {_RUN_SECONDS:.0f} s")
    return Run(
        scenario.name,
        seed,
        ledger.acknowledged - acknowledged,
        len(ledger.players) - players,
        chaos.kills,
        chaos.pauses,
        Counter(ledger.answers),
        ledger.violations + violations,
        chaos.event_log,
    )


async def _inject_faults(harness: Harness, scenario: Scenario, kills: int) -> None:
    chaos, ledger = harness.chaos, harness.system.ledger
    watch = asyncio.create_task(harness.watch_saved())
    load = asyncio.create_task(harness.load.run())
    try:
        await harness.more_writes(_WRITES_BEFORE, seconds=30)
        pending = list(scenario.always)
        chaos.rng.shuffle(pending)
        injections, weights = zip(*scenario.mixed, strict=True)
        for _ in range(_MOST_INJECTIONS):
            if ledger.violations or load.done() or (not pending and chaos.kills.total() >= kills):
                break
            inject = pending.pop() if pending else chaos.rng.choices(injections, weights)[0]
            try:
                await inject(harness)
            except STORE_ERRORS as error:  # the injection's own query of a store failed
                chaos.log(f"the injection broke off: {error!r}")
            finally:
                chaos.thaw_all()
            await harness.more_writes(_WRITES_BETWEEN)
        harness.load.stop()
        await load
    finally:
        for task in (watch, load):
            task.cancel()
        await asyncio.gather(watch, load, return_exceptions=True)
