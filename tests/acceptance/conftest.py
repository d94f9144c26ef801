"""Provide the system under test: ACCEPTANCE_URL when set, else a local cluster."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from leaderboard_client import Client
from tests.acceptance.cluster import LocalCluster, local_cluster

Register = Callable[..., "Player"]


class Player:
    """A registered player: a client and raw HTTP with its token."""

    def __init__(self, client: Client, user_id: str, region: str) -> None:
        assert client.token is not None
        self.client = client
        self.user_id = user_id
        self.region = region
        self.token = client.token
        self.http = httpx.Client(
            base_url=client.base_url, headers={"Authorization": f"Bearer {client.token}"}, timeout=20
        )

    def close(self) -> None:
        self.client.close()
        self.http.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Provide the processes, to inspect and to kill; only without ACCEPTANCE_URL."""
    if "ACCEPTANCE_URL" in os.environ:
        pytest.fail("this test needs local processes: deselect it with -m 'not local_cluster'")
    with local_cluster(tmp_path_factory.mktemp("cluster") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> str:
    """Return the address of NGINX."""
    given = os.environ.get("ACCEPTANCE_URL")
    if given:
        return given.rstrip("/")
    running: LocalCluster = request.getfixturevalue("cluster")
    return running.url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture
def visitor(url: str) -> Iterator[Client]:
    """Open a client without a token, for reads."""
    with Client(url) as client:
        yield client


@pytest.fixture
def register(url: str) -> Iterator[Register]:
    """Register players with unique names, so that tests do not see each other's."""
    players: list[Player] = []

    def make(region: str = "ASIA", score: int = 0, **more: Any) -> Player:
        user_id = more.pop("user_id", f"player-{secrets.token_hex(6)}")
        client = Client(url)
        client.register(user_id, f"Name of {user_id}", region, score, **more)
        players.append(Player(client, user_id, region))
        return players[-1]

    yield make
    for player in players:
        player.close()
