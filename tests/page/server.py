"""Open clients of the system under test with the tokens of its operators."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from leaderboard_client import Client
from tests.acceptance.cluster import LocalCluster, command


def token(cluster: LocalCluster, role: str, **environ: str) -> str:
    """Make a token of a role."""
    words, environment = command("token", "tests", "--role", role), {**cluster.environment(), **environ}
    made = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return made.stdout.strip()


@contextmanager
def game_server(cluster: LocalCluster, **environ: str) -> Iterator[Client]:
    """Open a client with a token of role server."""
    with Client(cluster.url, token=token(cluster, "server", **environ)) as client:
        yield client


@contextmanager
def administrator(cluster: LocalCluster, **environ: str) -> Iterator[Client]:
    """Open a client with a token of role admin."""
    with Client(cluster.url, token=token(cluster, "admin", **environ)) as client:
        yield client
