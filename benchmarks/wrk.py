"""Run wrk with a script of benchmarks/wrk and parse its output."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).with_name("wrk")
MISSING = """wrk, which makes the load, is not installed.
  Debian, Ubuntu:  apt-get install wrk
  macOS:           brew install wrk
  elsewhere:       https://github.com/wg/wrk, `make`, and put `wrk` on the PATH"""
_GRACE_SECONDS = 30


class WrkError(Exception):
    """wrk did not run, or its output was not as expected."""


@dataclass(frozen=True, slots=True)
class Load:
    """The results of one run of wrk. `errors` are answers ≥ 400, refused items, and what the sockets reported."""

    requests: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    errors: int
    wrk_cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Return the requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0


def require_wrk() -> str:
    """Return the path of wrk; exit with how to install it when it is missing."""
    found = shutil.which("wrk")
    if found is None:
        print(MISSING, file=sys.stderr)  # noqa: T201
        sys.exit(1)
    return found


def wrk_version() -> str:
    """Return the version that wrk prints, for example `4.1.0`."""
    said = subprocess.run([require_wrk(), "-v"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    return found[0] if found else "unknown"


def parse(output: str, wrk_cpu_seconds: float = 0.0) -> Load:
    """Parse wrk's output. Raises WrkError when the line of our script is missing."""
    lines = [line for line in output.splitlines() if line.startswith("BENCH {")]
    if len(lines) != 1:
        raise WrkError(f"wrk did not report:\n{output[-2000:]}")
    said = json.loads(lines[0].removeprefix("BENCH "))
    errors = sum(said[kind] for kind in ("connect", "read", "write", "timeout", "status", "refused"))
    return Load(
        requests=said["requests"],
        seconds=said["seconds"],
        p50_ms=said["p50_ms"],
        p90_ms=said["p90_ms"],
        p99_ms=said["p99_ms"],
        max_ms=said["max_ms"],
        errors=errors,
        wrk_cpu_seconds=wrk_cpu_seconds,
    )


def run_wrk(
    script: str, url: str, folder: Path, *, connections: int, seconds: float, rate: float | None = None
) -> Load:
    """Load `url` with `benchmarks/wrk/<script>.lua`, as fast as it goes or at `rate` requests per second.

    One thread: the machine's other cores belong to the servers. Raises WrkError.
    """
    whole = max(1, round(seconds))
    command = [require_wrk(), "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "10s", "--latency"]
    environ = {name: value for name, value in os.environ.items() if name != "BENCH_RATE"}
    if rate is not None:
        environ["BENCH_RATE"] = f"{rate:.3f}"
    before = _children_seconds()
    try:
        done = subprocess.run(
            [*command, "-s", str(SCRIPTS / f"{script}.lua"), url, "--", str(folder)],
            capture_output=True,
            text=True,
            check=False,
            env=environ,
            timeout=whole + _GRACE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise WrkError(f"wrk with {script}.lua did not end in time") from error
    if done.returncode != 0:
        raise WrkError(f"wrk with {script}.lua ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return parse(done.stdout, _children_seconds() - before)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
