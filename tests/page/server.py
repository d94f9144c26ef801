"""Open a game server's client of the system under test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from leaderboard_client import Client
from tests.acceptance.cluster import LocalCluster, command


@contextmanager
def game_server(cluster: LocalCluster, **environ: str) -> Iterator[Client]:
    """Open a client with a token of role server."""
    words, environment = command("token", "tests", "--role", "server"), {**cluster.environment(), **environ}
    token = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    with Client(cluster.url, token=token.strip()) as client:
        yield client
