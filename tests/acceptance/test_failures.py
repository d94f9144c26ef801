"""Kill processes under load: no request fails, nothing acknowledged is lost, and they restart."""

from __future__ import annotations

import asyncio
import secrets
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from leaderboard_client import AsyncClient, Client
from tests.acceptance.cluster import LocalCluster, clean_environment, command, local_cluster
from tests.support.waiting import PROCESS_SECONDS, eventually, wait_until

pytestmark = pytest.mark.local_cluster


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Run a cluster that these tests may break; each leaves every process running."""
    with local_cluster(tmp_path_factory.mktemp("broken") / "data") as running:
        yield running


class Load:
    """Run readers and writers (with Idempotency-Key) until they are stopped."""

    def __init__(self, url: str, players: int = 6) -> None:
        self.url = url
        self.stop = asyncio.Event()
        self.failures: Counter[str] = Counter()
        self.requests = 0
        self.added: dict[str, int] = {}
        self._players = players

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._players):
                group.create_task(self._player(number))

    async def _player(self, number: int) -> None:
        user_id = f"load-{number}-{secrets.token_hex(4)}"
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            body = {"user_id": user_id, "name": "Load", "region": ("ASIA", "EU", "NA")[number % 3]}
            answer = await client.post("/auth/register", json=body)
            assert answer.status_code == 201, answer.text
            headers = {"Authorization": f"Bearer {answer.json()['token']}"}
            self.added[user_id] = 0
            while not self.stop.is_set():
                key = {"Idempotency-Key": secrets.token_hex(8)}
                await self._count(client.post("/score/add", json={"delta": 1}, headers=headers | key))
                self.added[user_id] += 1
                await self._count(client.get(f"/rank/{user_id}"))
                await self._count(client.get("/top", params={"limit": 10}))

    async def _count(self, request: Awaitable[httpx.Response]) -> None:
        self.requests += 1
        try:
            answer = await request
        except httpx.TransportError as error:
            self.failures[type(error).__name__] += 1
        else:
            if answer.status_code not in (200, 429):
                self.failures[f"{answer.status_code} {answer.text[:200]}"] += 1


async def under_load(url: str, disrupt: Callable[[Load], Awaitable[None]]) -> Load:
    load = Load(url)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        try:
            await disrupt(load)
        finally:
            load.stop.set()
    return load


async def more_requests(load: Load, count: int) -> None:
    target = load.requests + count
    await eventually(lambda: load.requests >= target, f"{count} more requests", seconds=PROCESS_SECONDS)


async def test_killing_a_service_under_load_makes_no_request_fail(own_cluster: LocalCluster) -> None:
    answered_by: Counter[str] = Counter()

    async def kill_and_watch(load: Load) -> None:
        await more_requests(load, 60)
        pid = own_cluster.kill("service-2")
        await more_requests(load, 200)
        await asyncio.to_thread(own_cluster.wait_restarted, "service-2", pid)
        address = own_cluster.state["urls"]["service-2"].removeprefix("http://")
        async with httpx.AsyncClient(base_url=own_cluster.url, timeout=20) as client:
            for _ in range(2000):
                answer = await client.get("/top", params={"limit": 1})
                answered_by[answer.headers["X-Service-Addr"]] += 1
                if answered_by[address]:
                    return
        raise AssertionError(f"service-2 takes no traffic after its restart: {answered_by}")

    load = await under_load(own_cluster.url, kill_and_watch)
    assert not load.failures
    async with AsyncClient(own_cluster.url) as client:
        ranks = await client.ranks(load.added)
    assert {row.user_id: row.score for row in ranks.rows} == load.added
    assert load.requests > 200


async def test_killing_a_gateway_under_load_fails_no_read(own_cluster: LocalCluster) -> None:
    pid = 0

    async def kill(load: Load) -> None:
        nonlocal pid
        await more_requests(load, 60)
        pid = own_cluster.kill("gateway-1")
        await more_requests(load, 200)

    load = await under_load(own_cluster.url, kill)
    # NGINX repeats no POST that may have been done: a write in flight may fail, and says so in the envelope.
    assert all(failure.startswith("502 ") and '"bad_gateway"' in failure for failure in load.failures), load.failures
    assert load.failures.total() <= 6
    await asyncio.to_thread(own_cluster.wait_restarted, "gateway-1", pid)


async def test_killing_a_gateway_fails_nothing_for_the_python_client(own_cluster: LocalCluster) -> None:
    added: dict[str, int] = {}
    stop = asyncio.Event()

    async def play(number: int) -> None:
        async with AsyncClient(own_cluster.url) as client:
            user_id = f"patient-{number}-{secrets.token_hex(4)}"
            await client.register(user_id, "Patient", "EU")
            added[user_id] = 0
            while not stop.is_set():
                assert (await client.add(1)).score == added[user_id] + 1
                added[user_id] += 1

    async def more_writes(count: int) -> None:
        target = sum(added.values()) + count
        await eventually(lambda: sum(added.values()) >= target, f"{count} more writes", seconds=PROCESS_SECONDS)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(play(number))
        for name in ("gateway-1", "gateway-2", "service-1"):
            await more_writes(60)
            pid = own_cluster.kill(name)
            await more_writes(60)
            await asyncio.to_thread(own_cluster.wait_restarted, name, pid)
        stop.set()
    async with AsyncClient(own_cluster.url) as client:
        ranks = await client.ranks(added, region="EU")
    assert {row.user_id: row.score for row in ranks.rows} == added


async def test_killing_the_worker_loses_no_score(own_cluster: LocalCluster) -> None:
    async def kill(load: Load) -> None:
        for _ in range(3):
            await more_requests(load, 60)
            pid = own_cluster.kill("worker-1")
            await asyncio.to_thread(own_cluster.wait_restarted, "worker-1", pid)

    load = await under_load(own_cluster.url, kill)
    assert not load.failures
    async with AsyncClient(own_cluster.url) as client:
        boards = {row.user_id: row.score for row in (await client.ranks(load.added)).rows}
    assert boards.keys() == load.added.keys()

    async def rows() -> dict[str, int]:
        found: dict[str, int] = {}
        for dsn in own_cluster.state["databases"].values():
            connection = await asyncpg.connect(dsn)
            try:
                found |= dict(await connection.fetch("SELECT user_id, score FROM leaderboard"))
            finally:
                await connection.close()
        return found

    def saved() -> bool:
        return boards.items() <= asyncio.run(rows()).items()

    # A killed worker's batch is reclaimed after WORKER_TIMEOUT_SECONDS.
    await asyncio.to_thread(wait_until, saved, "every score in Postgres", seconds=60)


def running(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and not _zombie(pid)]


def _zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def test_sigterm_stops_everything_with_exit_code_zero(tmp_path: Path) -> None:
    with local_cluster(tmp_path / "data") as cluster:
        pids = [pid for pid in cluster.state["pids"].values() if pid]
        assert len(running(pids)) == len(pids) >= 10
        cluster.process.send_signal(signal.SIGTERM)
        assert cluster.process.wait(30) == 0
        assert running(pids) == []


def test_a_killed_supervisor_leaves_nothing_behind_and_scores_survive(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with local_cluster(data_dir) as cluster:
        pids = [pid for pid in cluster.state["pids"].values() if pid]
        with Client(cluster.url) as client:
            client.register("survivor", "Survivor", "EU", 12)
        cluster.process.kill()
        cluster.process.wait(10)
        wait_until(lambda: running(pids) == [], "the end of every process")
    with local_cluster(data_dir) as cluster, Client(cluster.url) as client:
        assert client.rank("survivor").score == 12


def test_a_busy_port_is_named(cluster: LocalCluster, tmp_path: Path) -> None:
    port = str(cluster.state["ports"]["redis"])
    arguments = command("up", "--data-dir", str(tmp_path / "data"), "--servers", "wheels", "--redis-port", port)
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False)
    assert result.returncode == 1
    assert port in result.stdout + result.stderr
    assert "--redis-port" in result.stdout + result.stderr
