"""Provide a cluster and a browser for the tests of the pages; without a browser they are skipped."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from selenium import webdriver

from leaderboard_client import Client, NotFound
from tests.acceptance.cluster import LocalCluster, local_cluster
from tests.acceptance.conftest import Player
from tests.page.browser import Page, browser, missing_browser, page_in
from tests.page.server import administrator, game_server

# Not the defaults: the page must learn them from the server.
REGIONS = ("ASIA", "EU", "NA", "GLOBAL", "EMPTY", "ARENA")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip everything here where there is no browser, unless PAGE_TESTS=required (as in CI)."""
    problem = missing_browser()
    if problem is None or os.environ.get("PAGE_TESTS") == "required":
        return
    for item in items:
        if "tests/page/" in item.path.as_posix() and "page" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=problem))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Run a cluster that these tests may break; each leaves every process running."""
    environ = {"REGIONS": ",".join(REGIONS), "USER_RATE_LIMIT_COUNT": "30", "USER_RATE_LIMIT_WINDOW": "60"}
    with local_cluster(tmp_path_factory.mktemp("page") / "data", environ=environ) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[webdriver.Chrome]:
    """Start the browser of this session."""
    problem = missing_browser()
    assert problem is None, problem
    with browser() as driver:
        yield driver


@pytest.fixture
def page(chromium: webdriver.Chrome, cluster: LocalCluster, region: str) -> Iterator[Page]:
    """Open a tab, whose console must stay clean.

    It is closed before the players of `region` are deleted: a tab that follows one would report an error.
    """
    del region
    with page_in(chromium, cluster.url) as opened:
        yield opened
        assert opened.complaints() == []


@pytest.fixture(scope="session")
def server(cluster: LocalCluster) -> Iterator[Client]:
    """Open a client with a server's token."""
    with game_server(cluster, REGIONS=",".join(REGIONS)) as client:
        yield client


@pytest.fixture(scope="session")
def admin(cluster: LocalCluster) -> Iterator[Client]:
    """Open a client with an administrator's token."""
    with administrator(cluster, REGIONS=",".join(REGIONS)) as client:
        yield client


Define = Callable[..., str]


@pytest.fixture
def define(admin: Client) -> Iterator[Define]:
    """Define boards by name and rules; they are deleted after the test."""
    names: list[str] = []

    def make(name: str, **rules: Any) -> str:
        names.append(name)
        admin.define_board(name, rules)
        return name

    yield make
    for name in names:
        with suppress(NotFound):
            admin.delete_board(name)


@pytest.fixture
def region(server: Client) -> Iterator[str]:
    """Provide a board without players, emptied again after the test."""
    yield "ARENA"
    for row in server.top("ARENA", limit=1000).rows:
        server.delete_user(row.user_id)


Register = Callable[..., Player]


@pytest.fixture
def register(cluster: LocalCluster) -> Iterator[Register]:
    """Register players, with unique names and ids when none are given."""
    players: list[Player] = []

    def make(region: str, score: int = 0, **more: str) -> Player:
        user_id = more.get("user_id") or f"p-{secrets.token_hex(4)}"
        client = Client(cluster.url)
        client.register(user_id, more.get("name") or f"Name of {user_id}", region, score)
        players.append(Player(client, user_id, region))
        return players[-1]

    yield make
    for player in players:
        player.close()


def set_score(player: Player, score: int) -> None:
    player.client.update(score)
