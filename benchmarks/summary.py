"""Summarise measurements: medians over the turns, shares of the floor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.scenarios import SCENARIOS, Scenario, Turn


def medians(maps: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Compute the median of each key over several maps; a key need not be in all of them."""
    values: dict[str, list[float]] = {}
    for each in maps:
        for key, value in each.items():
            values.setdefault(key, []).append(value)
    return {key: median(found) for key, found in values.items()}


def summarise(scenario: Scenario, turns: Sequence[Turn]) -> dict[str, Any]:
    """Summarise the turns of a scenario in a row: medians, and the sum of errors."""
    rate = median(turn.full.rate for turn in turns)
    row: dict[str, Any] = {
        "scenario": scenario.name,
        "title": scenario.title,
        "rate": rate,
        "floor_rate": median(turn.floor_rate for turn in turns),
        "share": median(turn.share for turn in turns),
        "floor_spread": max(turn.floor_spread for turn in turns),
        "aim": scenario.aim,
        "p50_ms": median(turn.full.p50_ms for turn in turns),
        "p99_ms": median(turn.full.p99_ms for turn in turns),
        "half_rate": median(turn.half.rate for turn in turns),
        "half_p50_ms": median(turn.half.p50_ms for turn in turns),
        "half_p99_ms": median(turn.half.p99_ms for turn in turns),
        "cpu_us": medians(turn.cpu_us for turn in turns),
        "errors": sum(turn.errors for turn in turns),
    }
    if scenario.events:
        row |= {
            "events_rate": rate * scenario.events,
            "queue": max(turn.queue for turn in turns),
            "drain_seconds": max(turn.drain_seconds for turn in turns),
            "saved_rate": median(_saved_rate(scenario, turn) for turn in turns),
        }
    return row


def _saved_rate(scenario: Scenario, turn: Turn) -> float:
    """Return the events per second that reached Postgres, from the first request until the queue was empty."""
    return turn.full.requests * scenario.events / (turn.full.seconds + turn.drain_seconds)


def rows_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Make a row for each scenario that was run, in the order of SCENARIOS."""
    return [
        summarise(scenario, mine)
        for scenario in SCENARIOS
        if (mine := [turn for turn in turns if turn.scenario == scenario.name])
    ]
