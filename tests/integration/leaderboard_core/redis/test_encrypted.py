"""Every form of REDIS_URL with TLS, and a user who has just the documented rights.

The servers of the wheels have no TLS: an address before each decrypts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import redis

from leaderboard_cli.cluster.ports import LOOPBACK
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.commands import KEY_PATTERNS
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.support.command import run_here
from tests.support.own_redis import OwnRedis
from tests.support.redis_cluster import Cluster, redis_cluster
from tests.support.replication import client_of, follow
from tests.support.sentinels import SERVICE, sentinels
from tests.support.service import running_service
from tests.support.tls import Authority, TlsFront, tls_before
from tests.support.waiting import eventually
from tests.support.worker import rows, working

DOCUMENT = Path(__file__).resolve().parents[4] / "docs/operations.md"
LOGIN = "leaderboard:PASSWORD"
PLAYERS = {f"player-{number}": ("EU", "ASIA")[number % 2] for number in range(8)}
PARTITIONS = 4


class Encrypted(NamedTuple):
    """Servers behind TLS: the value of REDIS_URL, the addresses before them, and clients of administrators."""

    url: str
    fronts: list[TlsFront]
    administrators: list[redis.Redis]


def documented_rules(*, cluster: bool = False) -> list[str]:
    """The documented line; on a cluster the keys begin with a tag."""
    (line,) = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("ACL SETUSER")]
    if cluster:
        for pattern in KEY_PATTERNS:
            line = line.replace(f" ~{pattern} ", f" ~{{*}}:{pattern} ")
    return line.split()


def let_in_the_documented_user_alone(client: Any, *, cluster: bool = False) -> None:
    client.execute_command(*documented_rules(cluster=cluster))
    client.execute_command("ACL", "SETUSER", "default", "-@scripting")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), replicas=0) as made:
        yield made


def _port(server: OwnRedis) -> int:
    return int(urlsplit(server.url).port or 0)


@asynccontextmanager
async def servers(folder: Path, authority: Authority, count: int) -> AsyncIterator[Encrypted]:
    """One Redis, or several that are partitions."""
    with ExitStack() as stack:
        own = [OwnRedis(folder / f"redis-{number}") for number in range(count)]
        for server in own:
            server.start()
            stack.callback(server.stop)
        clients = [stack.enter_context(server.client()) for server in own]
        for client in clients:
            let_in_the_documented_user_alone(client)
        async with tls_before(*map(_port, own), authority=authority) as fronts:
            query = f"ssl_ca_certs={authority.certificate}"
            urls = [f"rediss://{LOGIN}@{LOOPBACK}:{front.port}/0?{query}" for front in fronts]
            yield Encrypted(",".join(urls), fronts, clients)


@asynccontextmanager
async def cluster_nodes(cluster: Cluster, authority: Authority) -> AsyncIterator[Encrypted]:
    """A cluster whose nodes name the addresses with TLS."""
    with ExitStack() as stack:
        clients = [stack.enter_context(redis.Redis(port=node.port, decode_responses=True)) for node in cluster.nodes]
        for client in clients:
            let_in_the_documented_user_alone(client, cluster=True)
        async with tls_before(*(node.port for node in cluster.nodes), authority=authority) as fronts:
            for client, front in zip(clients, fronts, strict=True):
                client.config_set("cluster-announce-port", front.port)
            named = {front.port for front in fronts}

            def all_named() -> bool:
                return all({master[1] for _, _, master, *_ in one.ask("CLUSTER", "SLOTS")} == named for one in nodes)

            nodes = cluster.nodes
            await eventually(all_named, "nodes that know each other's addresses")
            seeds = ",".join(f"{LOOPBACK}:{front.port}" for front in fronts)
            query = f"partitions={PARTITIONS}&ssl_ca_certs={authority.certificate}"
            yield Encrypted(f"rediss+cluster://{LOGIN}@{seeds}/?{query}", fronts, clients)


@asynccontextmanager
async def watching(folder: Path, master: OwnRedis, front: TlsFront) -> AsyncIterator[tuple[int, ...]]:
    """Run Sentinels; they are waited for beside this loop, which passes on what they say."""
    running = sentinels(folder, master, front=front.port)
    ports = await asyncio.to_thread(running.__enter__)
    try:
        yield ports
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@asynccontextmanager
async def watched(folder: Path, authority: Authority) -> AsyncIterator[Encrypted]:
    """A master that Sentinels watch, who are asked with TLS and a user of their own, too."""
    async with AsyncExitStack() as stack:
        master, second = OwnRedis(folder / "a"), OwnRedis(folder / "b")
        for server in (master, second):
            server.start()
            stack.callback(server.stop)
        replica = await stack.enter_async_context(client_of(second))
        await follow(replica, master)
        client = stack.enter_context(master.client())
        let_in_the_documented_user_alone(client)
        (front,) = await stack.enter_async_context(tls_before(_port(master), authority=authority))
        ports = await stack.enter_async_context(watching(folder, master, front))
        asked = await stack.enter_async_context(tls_before(*ports, authority=authority))
        for port in ports:
            with redis.Redis(port=port) as sentinel:
                sentinel.execute_command("ACL", "SETUSER", "asker", "on", ">SECRET", "-@all", "+sentinel|masters")
                sentinel.execute_command("ACL", "SETUSER", "default", "-sentinel|masters")
        nodes = ",".join(f"{LOOPBACK}:{one.port}" for one in asked)
        query = f"sentinel_username=asker&sentinel_password=SECRET&ssl_ca_certs={authority.certificate}"
        yield Encrypted(f"rediss+sentinel://{LOGIN}@{nodes}/{SERVICE}?{query}", [front, *asked], [client])


FORMS = ("one", "several", "cluster", "sentinel")


@pytest.fixture(params=FORMS)
async def encrypted(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> AsyncIterator[Encrypted]:
    match request.param:
        case "cluster":
            made = cluster_nodes(request.getfixturevalue("cluster"), authority)
        case "sentinel":
            made = watched(tmp_path, authority)
        case form:
            made = servers(tmp_path, authority, 1 if form == "one" else 2)
    async with made as running:
        yield running


@pytest.fixture
def contexts_made(monkeypatch: pytest.MonkeyPatch) -> list[ssl.SSLContext]:
    """The TLS contexts that clients make meanwhile."""
    made: list[ssl.SSLContext] = []
    make = ssl.create_default_context

    def counted(*args: Any, **options: Any) -> ssl.SSLContext:
        made.append(make(*args, **options))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    return made


async def test_service_worker_and_check_run_with_tls_and_the_documented_rights(
    environ: dict[str, str], databases: RegionDatabases, encrypted: Encrypted, contexts_made: list[ssl.SSLContext]
) -> None:
    own = {**environ, "REDIS_URL": encrypted.url, "REDIS_TIMEOUT_SECONDS": "5", "CLOCK_SKEW_SECONDS": "0"}
    async with working(own, heartbeats=True), running_service(own) as api:

        async def healthy() -> bool:
            return (await api.get("/health")).status_code == 200

        await eventually(healthy, "admitted Redis", seconds=40)
        tokens = {user_id: await api.register(user_id, region, 10) for user_id, region in PLAYERS.items()}
        for _ in range(2):
            for token in tokens.values():
                written = await api.post("/score/add", {"delta": 5}, token=token, key="k")
                assert written.json()["score"] == 15
        for path in ("/top", "/rank/player-1", "/around/player-1", "/range?min=0", "/status"):
            answer = await api.get(path)
            assert (answer.status_code, answer.headers.get("X-Leaderboard-Source")) in ((200, "redis"), (200, None))
        assert await api.scores() == dict.fromkeys(PLAYERS, 15)
        assert (await api.export("player-1", tokens["player-1"])).status_code == 200

        async def saved() -> bool:
            found = {**await rows(databases, "EU"), **await rows(databases, "ASIA")}
            return {user_id: row[1] for user_id, row in found.items()} == dict.fromkeys(PLAYERS, 15)

        await eventually(saved, "the rows", seconds=20)
        assert (await api.delete("player-1", tokens["player-1"])).status_code == 200
    code, output, complaint = await run_here(own, "check")
    assert code == 0, output + complaint
    assert "may not use" not in output + complaint
    assert [entry["object"] for one in encrypted.administrators for entry in one.acl_log()] == []
    opened = sum(front.encrypted for front in encrypted.fronts)
    assert opened > 8
    assert len(contexts_made) <= 2, f"for {opened} connections"


async def test_a_server_of_an_unknown_authority_is_not_talked_to(
    environ: dict[str, str], encrypted: Encrypted, authority: Authority
) -> None:
    """No password goes to whoever answers at the address."""
    url = encrypted.url.replace(f"ssl_ca_certs={authority.certificate}", "")
    shard_map = ShardMap.open(load(TopologySettings, {**environ, "REDIS_URL": url, "REDIS_TIMEOUT_SECONDS": "2"}))
    try:
        for shard in shard_map.shards:
            problem = await shard.reachable()
            assert problem is not None
            assert "certificate" in problem, problem
    finally:
        await shard_map.close()
