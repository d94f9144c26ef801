"""Test live boards through NGINX, a gateway and a service, also when one of them dies."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.cluster import LocalCluster, local_cluster
from tests.acceptance.conftest import Register
from tests.support.events import EndedError, Event, Listener, apply, listening
from tests.support.waiting import PROCESS_SECONDS, eventually

PATH = "/stream/top?region=ASIA"


async def test_an_event_arrives_unbuffered_through_every_hop(url: str, register: Register) -> None:
    player = register("EU", 1)
    async with listening(url, f"/stream/rank/{player.user_id}?region=EU&range=0") as listener:
        assert listener.headers["content-type"].startswith("text/event-stream")
        assert {"x-upstream-addr", "x-service-addr", "x-request-id"} <= set(listener.headers)
        first = await listener.next()
        assert (first.name, first.data["self"]["score"]) == ("snapshot", 1)
        for score in (2, 3, 4):
            started = time.monotonic()
            answer = await asyncio.to_thread(player.http.post, "/score/update", json={"score": score})
            assert answer.status_code == 200
            event = await listener.next()
            assert (event.name, event.data["self"]["score"]) == ("change", score)
            # A tick is 250 ms; an event that a hop buffered would come with the next one only.
            assert time.monotonic() - started < 2


async def test_the_top_is_what_a_read_gives(url: str, http: httpx.Client, register: Register) -> None:
    register("NA", 7)
    async with listening(url, "/stream/top?region=na&limit=100") as listener:
        event = await listener.next()
        assert event.name == "snapshot"
        page = (await asyncio.to_thread(http.get, "/top", params={"region": "NA", "limit": 100})).json()
        rows = event.data["rows"]
        assert rows == page["rows"]
        assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))


def test_errors_come_through_as_json(http: httpx.Client) -> None:
    for path, status, code in (
        ("/stream/rank/nobody-of-that-name", 404, "user_not_found"),
        ("/stream/top?region=mars", 422, "unknown_region"),
        ("/stream/top?limit=101", 422, "invalid_payload"),
    ):
        answer = http.get(path)
        assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert http.head("/stream/top").headers["content-type"].startswith("text/event-stream")


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Run a cluster that these tests may break, with frequent heartbeats."""
    data_dir = tmp_path_factory.mktemp("streams") / "data"
    with local_cluster(data_dir, environ={"STREAM_HEARTBEAT_SECONDS": "0.5"}) as running:
        yield running


@pytest.fixture(scope="module")
def mover(own_cluster: LocalCluster) -> Iterator[httpx.Client]:
    """Open a client with the token of that cluster's only player."""
    with httpx.Client(base_url=own_cluster.url, timeout=20) as client:
        body = {"user_id": "mover", "name": "Mover", "region": "ASIA", "initialScore": 1}
        token = client.post("/auth/register", json=body).json()["token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


async def move(mover: httpx.Client, score: int) -> None:
    answer = await asyncio.to_thread(mover.post, "/score/update", json={"score": score})
    assert answer.status_code == 200, answer.text


def server_of(cluster: LocalCluster, listener: Listener, header: str) -> str:
    """Return the process that a header of the answer names."""
    address = f"http://{listener.headers[header]}"
    return next(str(name) for name, url in cluster.state["urls"].items() if url == address)


class Client:
    """Stay connected as a browser does: reopen the stream with the last id, and keep the board."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.rows: list[dict[str, Any]] = []
        self.events: list[Event] = []
        self.last_id = ""
        self.connects = 0
        self.listener: Listener | None = None
        self.changed = asyncio.Event()

    async def run(self) -> None:
        while True:
            self.connects += 1
            async with listening(self.url, PATH, Last_Event_ID=self.last_id or "none") as listener:
                self.listener = listener
                await self._follow(listener)
            await asyncio.sleep((listener.retry or 1000) / 1000)

    async def score(self) -> int:
        """Wait for a change, and return the score that the board shows."""
        async with asyncio.timeout(20):
            await self.changed.wait()
        self.changed.clear()
        return int(self.rows[0]["score"])

    async def _follow(self, listener: Listener) -> None:
        try:
            while True:
                event = await listener.next(3600)
                self.events.append(event)
                self.last_id = event.id
                self.rows = event.data["rows"] if event.name == "snapshot" else apply(self.rows, event.data)
                self.changed.set()
        except EndedError:
            return


@pytest.mark.local_cluster
async def test_heartbeats_keep_a_silent_stream_open(own_cluster: LocalCluster, mover: httpx.Client) -> None:
    await move(mover, 1)
    async with listening(own_cluster.url, PATH) as listener:
        await listener.next()
        await listener.silent(2)
        assert set(listener.comments) == {"heartbeat"}
        assert 3 <= len(listener.comments) <= 6
        await move(mover, 2)
        assert (await listener.next()).data["rows"][0]["score"] == 2


@pytest.mark.local_cluster
@pytest.mark.parametrize(
    ("header", "number"),
    [
        ("x-service-addr", signal.SIGKILL),
        ("x-service-addr", signal.SIGTERM),
        ("x-upstream-addr", signal.SIGKILL),
        ("x-upstream-addr", signal.SIGTERM),
    ],
    ids=["service-killed", "service-stopped", "gateway-killed", "gateway-stopped"],
)
async def test_a_client_outlives_its_server_and_misses_nothing(
    own_cluster: LocalCluster, mover: httpx.Client, header: str, number: signal.Signals
) -> None:
    await move(mover, 10)
    client = Client(own_cluster.url)
    running = asyncio.create_task(client.run())
    try:
        assert await client.score() == 10
        assert client.listener is not None
        name = server_of(own_cluster, client.listener, header)
        pid = own_cluster.kill(name, number)

        def connected_again() -> bool:
            return client.connects >= 2 and client.listener is not None and bool(client.listener.comments)

        await eventually(connected_again, "a new connection", seconds=PROCESS_SECONDS)
        assert len(client.events) == 1, "nothing changed, and nothing is sent again"
        await move(mover, 11)
        assert await client.score() == 11
        assert client.events[-1].name == "change"
        await asyncio.to_thread(own_cluster.wait_restarted, name, pid)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.local_cluster
async def test_a_client_that_reconnects_gets_what_changed_meanwhile(
    own_cluster: LocalCluster, mover: httpx.Client
) -> None:
    await move(mover, 20)
    async with listening(own_cluster.url, PATH) as listener:
        seen = (await listener.next()).id
    await move(mover, 21)
    async with listening(own_cluster.url, PATH, Last_Event_ID=seen) as listener:
        event = await listener.next()
        assert event.data["rows"][0]["score"] == 21
