"""Plot the results as SVG. Without matplotlib (extra `bench`) there are no plots, and the command says so."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cpu import KINDS
from benchmarks.recovery import console

_NEITHER_DATE_NOR_TOOL = {"Date": None, "Creator": None}


def _drawn(path: Path, draw: Callable[[Any], Any]) -> bool:
    if importlib.util.find_spec("matplotlib") is None:
        console.print(f"no {path.name}: matplotlib is missing (uv sync --inexact --extra dev --extra bench)")
        return False
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "leaderboard"
    figure = draw(importlib.import_module("matplotlib.pyplot"))
    figure.savefig(path, metadata=_NEITHER_DATE_NOR_TOOL, bbox_inches="tight")
    return True


def plot_load(rows: Sequence[dict[str, Any]], path: Path) -> bool:
    """Plot the share of the floor with its aim, and the CPU per request; return False without matplotlib."""

    def draw(pyplot: Any) -> Any:
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 0.6 * len(rows) + 1.6))
        single = [row for row in rows if row["scenario"] != "batch"]  # 500 scores a request: another scale
        left.barh([row["title"] for row in single], [row["share"] for row in single], color="#4878a8")
        for place, row in enumerate(single):
            if row["aim"]:
                left.plot([row["aim"]] * 2, [place - 0.4, place + 0.4], color="#c04040")
        left.invert_yaxis()
        left.set_xlabel("share of the bare floor F (red: aim)")
        start = [0.0] * len(single)
        for kind in KINDS:
            values = [row["cpu_us"].get(kind, 0.0) for row in single]
            right.barh([row["title"] for row in single], values, left=start, label=kind)
            start = [one + other for one, other in zip(start, values, strict=True)]
        right.invert_yaxis()
        right.set_xlabel("CPU µs per request")
        right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(KINDS), frameon=False, fontsize="small")
        figure.tight_layout()
        return figure

    return _drawn(path, draw)


def plot_partitions(lines: Sequence[dict[str, Any]], path: Path) -> bool:
    """Plot a service's CPU per request against the number of partitions of a cluster."""

    def draw(pyplot: Any) -> Any:
        figure, axes = pyplot.subplots(figsize=(7, 4.5))
        counts = [line["partitions"] for line in lines]
        for place, each in enumerate(lines[0]["scenarios"]):
            costs = [line["scenarios"][place]["cpu_us"].get("service", 0) for line in lines]
            axes.plot(counts, costs, marker="o", label=each["title"])
        axes.set_xticks(counts)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("partitions of one cluster; reads are of GLOBAL, which is all of them")
        axes.set_ylabel("µs of a service's CPU per request")
        axes.legend(fontsize="small")
        figure.tight_layout()
        return figure

    return _drawn(path, draw)


def plot_scaling(sizes: Sequence[dict[str, Any]], servers: Sequence[dict[str, Any]], path: Path) -> bool:
    """Plot Redis time per call against log(players), and reads per second against the number of Redis servers."""

    def draw(pyplot: Any) -> Any:
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5))
        for place, each in enumerate(sizes[0]["scenarios"]):
            costs = [size["scenarios"][place]["redis_us_median_call"] for size in sizes]
            left.plot([size["players"] for size in sizes], costs, marker="o", label=each["title"])
        left.set_xscale("log")
        left.set_ylim(bottom=0)
        left.set_xlabel("players (log scale: O(log N) is a straight line)")
        left.set_ylabel("µs of Redis time, median call")
        left.legend(fontsize="small")
        for place, each in enumerate(servers[0]["scenarios"]):
            rates = [entry["scenarios"][place]["rate"] for entry in servers]
            right.plot([entry["servers"] for entry in servers], rates, marker="o", label=each["title"])
        right.set_xticks([entry["servers"] for entry in servers])
        right.set_ylim(bottom=0)
        right.set_xlabel("Redis servers that merge the GLOBAL board")
        right.set_ylabel("reads/s through one service")
        right.legend(fontsize="small")
        figure.tight_layout()
        return figure

    return _drawn(path, draw)
