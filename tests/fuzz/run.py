"""Sends streams to all servers and compares what comes of them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.fuzz.outcomes import Outcome, explain, talk
from tests.fuzz.servers import Server, Trio
from tests.fuzz.streams import make

_AT_ONCE = 24
_AT_LEISURE = 8
_QUIET = 0.5
_SLOW = 2.0


@dataclass
class Report:
    """How many streams were sent, which differed and why, and the wanted differences by their reason."""

    streams: int = 0
    answers: int = 0
    left_open: int = 0
    faults: list[str] = field(default_factory=list)
    wanted: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    """Scores whose write was answered, by trio."""
    unclear: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Seeds of streams that left a connection open, by trio."""


async def fuzz(trios: Sequence[Trio], seed: str, numbers: Iterable[int]) -> Report:
    """Send the streams with these numbers, each to one of the trios."""
    report = Report()
    before = [await trio.ours.score() for trio in trios]
    left = iter([(trios[number % len(trios)], number) for number in numbers])

    async def work() -> None:
        for trio, number in left:
            await _one(trio, f"{seed}:{number}", report)

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    for trio, score in zip(trios, before, strict=True):
        if await trio.ours.score() - score != report.written[trio.name]:
            await _find_unanswered(trio, report)
    return report


async def _find_unanswered(trio: Trio, report: Report) -> None:
    """Find the streams that write a score without an answer; who left too early for it is given more time."""
    seeds = report.unclear[trio.name]
    for start in range(0, len(seeds), _AT_LEISURE):
        together = seeds[start : start + _AT_LEISURE]
        if await _unanswered(trio, together):
            for seed in together:
                if count := await _unanswered(trio, [seed]):
                    report.faults.append(f"{trio.name} {seed}: {count} more scores written than answered")
    if not seeds:
        report.faults.append(f"{trio.name}: scores were written without an answer")


async def _unanswered(trio: Trio, seeds: Sequence[str]) -> int:
    """How many more scores these streams write than they are told of."""
    server = trio.ours
    before = await server.score()
    streams = [make(seed, server.player, server.token) for seed in seeds]
    outcomes = await asyncio.gather(*(talk(server.port, stream, _SLOW) for stream in streams))
    return await server.score() - before - sum(outcome.written for outcome in outcomes)


async def _one(trio: Trio, seed: str, report: Report) -> None:
    async def outcome(server: Server, quiet: float) -> Outcome:
        stream = make(seed, server.player, server.token)
        if server is trio.httptools:
            stream = stream.without_upgrade()
        found = await talk(server.port, stream, quiet)
        if server is trio.ours:
            report.written[trio.name] += found.written
            if not found.closed and b"/score/add" in stream.whole:
                report.unclear[trio.name].append(seed)
        return found

    ours, h11 = await asyncio.gather(outcome(trio.ours, _QUIET), outcome(trio.h11, _QUIET))
    if not ours.same(h11):  # a slow answer looks like none: once more, and patiently
        ours, h11, httptools = await asyncio.gather(*(outcome(server, _SLOW) for server in trio.all))
        reason = explain(ours, h11, httptools, make(seed, trio.ours.player, "").whole)
        if reason is None:
            lines = (f"{trio.name} {seed}", f"  ours      {ours}", f"  h11       {h11}", f"  httptools {httptools}")
            report.faults.append("\n".join(lines))
        elif reason:
            report.wanted[reason] += 1
    report.streams += 1
    report.answers += len(ours.statuses)
    report.left_open += not ours.closed
