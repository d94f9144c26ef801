"""Kill parts of the system under an open page: it reports that, and recovers by itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.cluster import LocalCluster
from tests.acceptance.conftest import Player
from tests.page.browser import Page
from tests.page.conftest import Register, set_score

pytestmark = pytest.mark.local_cluster
# Console messages of a browser when a connection breaks.
BROKEN = ("net::ERR", "502", "503")


@contextmanager
def paused(cluster: LocalCluster, name: str) -> Iterator[None]:
    cluster.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.kill(name, signal.SIGCONT)


def freshness(page: Page) -> str:
    return str(page.run("return document.getElementById('fresh').dataset.state"))


def until_score(page: Page, player: Player, score: str) -> None:
    page.until(lambda: page.cells(player.user_id)["score"] == score, f"the score {score} on the board")


def queues(page: Page) -> list[list[str]]:
    """Return each region, and how many of its scores are queued."""
    script = """
        return [...document.querySelectorAll("#queues tbody tr")].map(({ cells: [region, waiting, saving] }) =>
            [region.innerText, String(Number(waiting.innerText) + Number(saving.innerText))]);
    """
    found: list[list[str]] = page.run(script)
    return found


@pytest.mark.parametrize("kind", ["service", "gateway"])
def test_each_replica_is_killed_and_the_page_reconnects(
    page: Page, cluster: LocalCluster, register: Register, region: str, kind: str
) -> None:
    player = register(region, 0)
    page.allowed += BROKEN
    page.open(region=region, player=player.user_id).until_live().until_rows(player.user_id)
    page.run("window.opened = 'once'")
    for number in (1, 2, 3):
        name = f"{kind}-{number}"
        pid = cluster.kill(name)
        set_score(player, number)
        until_score(page, player, str(number))
        page.until_text("#player .figures", str(number))
        cluster.wait_restarted(name, pid)
        cluster.wait_answering(name)
    page.until(lambda: freshness(page) == "live", "a live board")
    assert page.run("return window.opened") == "once"


def test_all_services_are_killed_and_the_page_says_so_and_comes_back(
    page: Page, cluster: LocalCluster, register: Register, region: str
) -> None:
    player = register(region, 5)
    page.allowed += BROKEN
    page.open(region=region).until_live().until_rows(player.user_id)
    names = [f"service-{number}" for number in (1, 2, 3)]
    page.run("""
        window.states = [];
        new MutationObserver(() => states.push(document.getElementById("fresh").dataset.state))
            .observe(document.getElementById("fresh"), { attributes: true });
    """)
    pids = {name: cluster.kill(name) for name in names}
    page.until(lambda: "reconnecting" in page.run("return states"), "the news of it")
    assert page.rows() == [player.user_id], "what was known stays to be seen"
    for name, pid in pids.items():
        cluster.wait_restarted(name, pid)
        cluster.wait_answering(name)
    page.until(lambda: freshness(page) == "live", "a live board", seconds=40)
    set_score(player, 6)
    until_score(page, player, "6")


def test_without_redis_boards_come_from_postgres_and_the_page_says_so(
    page: Page, cluster: LocalCluster, register: Register, region: str
) -> None:
    player = register(region, 7_000_000)
    page.open(region=region).until_live().until_rows(player.user_id)
    page.until_text("#verdict", "Everything saved")
    page.allowed += BROKEN
    with paused(cluster, "redis"):
        page.until(lambda: freshness(page) == "postgres", "boards from Postgres", seconds=30)
        assert page.text("#fresh") == "From Postgres"
        assert page.rows() == [player.user_id]
        page.until_text("#reads", "Postgres")
        page.until_text("#verdict", "Redis is away")
    page.until(lambda: freshness(page) == "live", "boards from Redis", seconds=40)
    page.until_text("#reads", "Redis", seconds=40)
    page.until_text("#verdict", "Everything saved", seconds=40)


def test_what_is_not_saved_yet_is_counted_until_it_is(
    page: Page, cluster: LocalCluster, register: Register, region: str
) -> None:
    player = register(region, 1)
    page.open(region=region).until_live()
    page.until_text("#saved", "Everything saved")
    with paused(cluster, "worker-1"):
        for score in (2, 3):
            set_score(player, score)
        page.until_text("#saved", "2 scores on their way to Postgres")
        page.until(lambda: ["ARENA", "2"] in queues(page), "the region's line")
        page.until(lambda: page.text("#lag").endswith(" s") and page.text("#lag") != "0 s", "the age of the oldest")
    page.until_text("#saved", "Everything saved")
    page.until_text("#lag", "none")
    assert page.run("return document.querySelectorAll('#upstreams [data-state=good]').length") == 3
    assert page.run("return document.querySelectorAll('#workers [data-state=good]').length") == 1


def test_a_page_in_the_background_gives_its_connections_back(page: Page, register: Register, region: str) -> None:
    player = register(region, 1)
    page.open(region=region, player=player.user_id).until_live().until_text("#player", player.user_id)
    page.run("""
        window.given = 0;
        const { close } = EventSource.prototype;
        EventSource.prototype.close = function () { given += 1; close.call(this); };
        // The rest begins at once.
        const later = window.setTimeout;
        window.setTimeout = (task, wait) => later(task, wait >= 20000 ? 0 : wait);
        window.setHidden = (hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        };
        setHidden(true);
    """)
    page.until(lambda: page.run("return given") == 2, "the end of both streams")
    set_score(player, 2)
    page.run("setHidden(false)")
    until_score(page, player, "2")
    page.until_text("#player .figures", "2")
    page.until(lambda: freshness(page) == "live", "a live board")
