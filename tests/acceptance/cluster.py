"""Run a local cluster under test: `leaderboard up` on free ports, with signals to its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.waiting import wait_until

START_SECONDS = 90
REPOSITORY = Path(__file__).resolve().parents[2]

_OWN_VARIABLES = (
    *("REDIS_URL", "POSTGRES_", "DATABASE_URL_", "PG_DATABASE_", "JWT_", "LEADERBOARD_", "REGIONS", "PORT", "HOST"),
    *("USER_RATE_LIMIT_", "REGION_RATE_LIMIT_", "QUEUE_", "BATCH_", "WORKER_", "AUTH_", "STREAM_", "OTEL_"),
)


def clean_environment(**extra: str) -> dict[str, str]:
    """Return the environment without settings of the system, so that a developer's own do not leak in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
    return {**kept, **extra}


@dataclass
class Cluster:
    """Running processes that stand in a cluster.json."""

    data_dir: Path

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.data_dir / "cluster.json").read_text("utf-8"))
        return state

    @property
    def url(self) -> str:
        return str(self.state["url"])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a process by its name in cluster.json; return its pid."""
        pid = int(self.state["pids"][name])
        os.kill(pid, number)
        return pid

    def wait_restarted(self, name: str, old_pid: int) -> None:
        """Wait until the supervisor has started `name` again."""
        wait_until(lambda: self.state["pids"][name] not in (None, old_pid), f"the restart of {name}")

    def wait_answering(self, name: str) -> None:
        """Wait until `name` answers its health check."""
        wait_until(lambda: answers(self.state["urls"][name]), f"an answer of {name}")

    def log_lines(self, name: str) -> list[dict[str, Any]]:
        """Return the JSON lines of a process's log."""
        text = Path(self.state["logs"][name]).read_text("utf-8", errors="replace")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def environment(self) -> dict[str, str]:
        """Return the variables with which a command finds this cluster."""
        return clean_environment(LEADERBOARD_DATA_DIR=str(self.data_dir))


@dataclass
class LocalCluster(Cluster):
    """A running `leaderboard up`."""

    process: subprocess.Popen[bytes]


def answers(url: str) -> bool:
    """Tell whether a process answers at all."""
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code > 0
    except httpx.TransportError:
        return False


def command(*words: str) -> list[str]:
    """Return the argv of a `leaderboard` command."""
    return [sys.executable, "-m", "leaderboard_cli", *words]


@contextmanager
def local_cluster(
    data_dir: Path, *options: str, environ: Mapping[str, str] | None = None, cwd: Path = REPOSITORY
) -> Iterator[LocalCluster]:
    """Start a cluster, yield it when it is ready, stop it."""
    output = data_dir.with_suffix(".log")
    with output.open("wb") as log:
        process = subprocess.Popen(
            command("up", "--free-ports", "--servers", "wheels", "--data-dir", str(data_dir), *options),
            cwd=cwd,
            env=clean_environment(**(environ or {})),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    cluster = LocalCluster(data_dir, process)

    def ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"leaderboard up ended with {process.returncode}:\n{output.read_text()[-4000:]}")
        if not (data_dir / "cluster.json").exists():
            return False
        state = cluster.state
        # A supervisor that was killed leaves its file behind.
        return bool(state["supervisor_pid"] == process.pid and state["state"] == "ready")

    try:
        wait_until(ready, "the start of the cluster", seconds=START_SECONDS)
        yield cluster
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
