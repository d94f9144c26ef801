"""One round: load, faults by a schedule, rest, comparison."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from tests.faults.aftermath import settle
from tests.faults.chaos import Chaos
from tests.faults.ledger import Violation
from tests.faults.schedules import Schedule
from tests.faults.stage import Stage
from tests.faults.swarm import Swarm
from tests.faults.world import STORE_ERRORS, World

_WRITES_BEFORE, _WRITES_BETWEEN = 60, 25
_MOST_ACTS = 40
_ROUND_SECONDS = 400.0
_SHOWN_PROBLEMS, _SHOWN_DIARY = 12, 60


@dataclass
class Round:
    """What a round did and found. `violations` is empty when every guarantee held."""

    schedule: str
    seed: int
    acknowledged: int = 0
    players: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    pauses: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    diary: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """One line."""
        return (
            f"seed {self.seed}, {self.schedule}: {self.kills.total()} kills {dict(self.kills)}, "
            f"pauses {dict(self.pauses)}, {self.acknowledged} writes acknowledged, {self.players} players, "
            f"{len(self.violations)} violations"
        )

    def evidence(self) -> str:
        """The summary, the answers by kind, the first violations and the diary."""
        lines = [self.summary(), f"answers: {dict(sorted(self.answers.items()))}"]
        lines += [f"VIOLATION {problem}" for problem in self.violations[:_SHOWN_PROBLEMS]]
        return "\n".join([*lines, *(f"  {line}" for line in self.diary[-_SHOWN_DIARY:])])


async def play(world: World, schedule: Schedule, seed: int, *, kills: int, clients: int = 12) -> Round:
    """Run one round with at least `kills` kills; what it found is in the result, never raised."""
    ledger = world.ledger
    ledger.answers.clear()
    ledger.violations.clear()
    acknowledged, players = ledger.acknowledged, len(ledger.players)
    chaos = Chaos(world.cluster, random.Random(f"{seed} chaos"))
    swarm = Swarm(world.cluster.url, ledger, world.tokens, random.Random(f"{seed} swarm"), clients=clients)
    stage = Stage(world, chaos, swarm)
    violations: list[str] = []
    try:
        async with asyncio.timeout(_ROUND_SECONDS):
            await _break_things(stage, schedule, kills)
            if not ledger.violations:
                await settle(stage)
    except Violation as error:
        violations.append(str(error))
    except TimeoutError:
        violations.append(f"the round did not end within {_ROUND_SECONDS:.0f} s")
    return Round(
        schedule.name,
        seed,
        ledger.acknowledged - acknowledged,
        len(ledger.players) - players,
        chaos.kills,
        chaos.pauses,
        Counter(ledger.answers),
        ledger.violations + violations,
        chaos.diary,
    )


async def _break_things(stage: Stage, schedule: Schedule, kills: int) -> None:
    chaos, ledger = stage.chaos, stage.world.ledger
    watch = asyncio.create_task(stage.watch_saved())
    load = asyncio.create_task(stage.swarm.run())
    try:
        await stage.more_writes(_WRITES_BEFORE, seconds=30)
        coming = list(schedule.always)
        chaos.rng.shuffle(coming)
        acts, weights = zip(*schedule.mixed, strict=True)
        for _ in range(_MOST_ACTS):
            if ledger.violations or load.done() or (not coming and chaos.kills.total() >= kills):
                break
            act = coming.pop() if coming else chaos.rng.choices(acts, weights)[0]
            try:
                await act(stage)
            except STORE_ERRORS as error:  # the act's own look into a store came at a bad moment
                chaos.note(f"the act broke off: {error!r}")
            finally:
                chaos.thaw_all()
            await stage.more_writes(_WRITES_BETWEEN)
        stage.swarm.stop()
        await load
    finally:
        for task in (watch, load):
            task.cancel()
        await asyncio.gather(watch, load, return_exceptions=True)
