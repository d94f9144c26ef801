"""Test the partitions of a real cluster: where their keys lie, and what happens when nodes die and slots move."""

from __future__ import annotations

import asyncio
import signal
from asyncio.selector_events import _SelectorSocketTransport  # type: ignore[attr-defined]
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import redis.asyncio as redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from leaderboard_cli.cluster.ports import LOOPBACK
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.layout import LayoutChanged
from leaderboard_core.redis.locating import ClusterNodes
from leaderboard_core.redis.queues import queue_states
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.redis.slots import slot_of, tag_of
from leaderboard_core.settings import TopologySettings, load
from leaderboard_core.settings.redis_endpoints import parse_endpoint
from tests.conftest import Start
from tests.support.command import run_here
from tests.support.redis_cluster import Cluster, Node, redis_cluster
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import working
from worker_service.recovery.verify import Verifier

PARTITIONS = 6
PLAYERS = {f"player-{number}": (("EU", "ASIA", "GLOBAL")[number % 3], number) for number in range(60)}
EXPECTED = {user_id: score for user_id, (_, score) in PLAYERS.items()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """One to break."""
    with redis_cluster(tmp_path) as made:
        yield made


def on(environ: dict[str, str], cluster: Cluster, partitions: int = PARTITIONS) -> dict[str, str]:
    return {**environ, "REDIS_URL": cluster.url(partitions), "REDIS_TIMEOUT_SECONDS": "2"}


@pytest.fixture
async def shard_map(environ: dict[str, str], cluster: Cluster) -> AsyncIterator[ShardMap]:
    made = ShardMap.open(load(TopologySettings, on(environ, cluster)))
    yield made
    await made.close()


async def registered(api: Api) -> dict[str, str]:
    return {user_id: await api.register(user_id, region, score) for user_id, (region, score) in PLAYERS.items()}


async def saved(environ: dict[str, str]) -> None:
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:

        async def nothing_waits() -> bool:
            return not any(state.uncommitted for state in await queue_states(shard_map))

        await eventually(nothing_waits, "the end of the queues", seconds=20)
    finally:
        await shard_map.close()


async def verified(environ: dict[str, str], databases: RegionDatabases) -> None:
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        report = await Verifier(shard_map, databases).verify()
    finally:
        await shard_map.close()
    assert (report.players, report.differences, report.pending) == (len(PLAYERS), [], 0)


async def takes_writes(api: Api, tokens: dict[str, str]) -> bool:
    """Add nothing to every player; whether all were done."""
    done = [await api.post("/score/add", {"delta": 0}, token=token) for token in tokens.values()]
    assert {answer.status_code for answer in done} <= {200, 503}
    return all(answer.status_code == 200 for answer in done)


async def is_read_from(api: Api, source: str) -> bool:
    answer = await api.get("/top", limit=100)
    if answer.status_code != 200 or answer.headers["X-Leaderboard-Source"] != source:
        return False
    assert {row["user_id"]: row["score"] for row in answer.json()["rows"]} == EXPECTED
    return True


async def test_every_partition_lies_in_one_slot_and_masters_have_equally_many(
    start: Start, environ: dict[str, str], databases: RegionDatabases, cluster: Cluster
) -> None:
    cluster.flush()
    own = on(environ, cluster)
    api = await start(**own)
    tokens = await registered(api)
    async with working(own):
        await saved(own)
    assert await api.scores() == EXPECTED
    for region in ("EU", "ASIA", "NA"):
        assert await api.scores(region) == {user: score for user, (home, score) in PLAYERS.items() if home == region}
    ranked = (await api.get("/rank/player-10", region="global")).json()
    assert (ranked["rank"], ranked["total"]) == (50, 60)
    around = (await api.get("/around/player-30", region="global")).json()
    assert [row["score"] for row in around["around"]] == [*range(40, 30, -1), *range(29, 19, -1)]
    await api.delete("player-59", api.server_token())
    again = await api.try_register("player-59", "EU", 59)
    assert again.status_code == 201
    assert await takes_writes(api, {user: token for user, token in tokens.items() if user != "player-59"})
    tags = {tag_of(index, PARTITIONS) for index in range(PARTITIONS)}
    per_master = []
    for master in cluster.masters:
        names = master.ask("KEYS", "*")
        found = {name.partition("{")[2].partition("}")[0] for name in names}
        assert found <= tags
        assert {key_slot(name.encode()) for name in names} == {slot_of(tag) for tag in found}
        per_master.append(len(found))
    assert per_master == [2, 2, 2]
    shards = (await api.get("/health")).json()["redis"]
    servers = [f"{LOOPBACK}:{cluster.owner(slot_of(tag_of(index, PARTITIONS))).port}" for index in range(PARTITIONS)]
    assert [shard["server"] for shard in shards] == servers
    replicas = {f"{LOOPBACK}:{node.port}" for node in cluster.nodes if node.role == "slave"}
    assert {replica for shard in shards for replica in shard["replicas"]} == replicas
    assert [len(shard["replicas"]) for shard in shards] == [1] * PARTITIONS
    told = (await api.get("/status")).json()["redis"]
    assert [(shard["partition"], shard["replicas"]) for shard in told] == [(f"{at}/6", 1) for at in range(PARTITIONS)]
    assert all(abs(shard["clock_offset_seconds"]) < 1 for shard in told)
    await eventually_clean(own, databases)


async def eventually_clean(environ: dict[str, str], databases: RegionDatabases) -> None:
    async with working(environ):
        await saved(environ)
    await verified(environ, databases)


async def test_a_region_alone_on_a_cluster_has_one_board(environ: dict[str, str], cluster: Cluster) -> None:
    """Its part of the GLOBAL board is that board."""
    shard_map = ShardMap.open(load(TopologySettings, {**environ, "REDIS_URL_EU": cluster.url(2)}))
    try:
        (first, second), others = shard_map.shards_of_region("EU"), shard_map.shards_of_region("NA")
        assert first.keys.board("GLOBAL") == first.keys.board("EU") != second.keys.board("EU")
        assert others[0].keys.board("GLOBAL") == "leaderboard:GLOBAL"
    finally:
        await shard_map.close()


async def test_a_second_region_gets_a_global_board_for_both_and_leaves_none_behind(
    start: Start,
    environ: dict[str, str],
    databases: RegionDatabases,
    cluster: Cluster,
    redis_1: redis.Redis,
) -> None:
    cluster.flush()
    alone = {**environ, "REDIS_URL_EU": cluster.url(1)}
    both = {**alone, "REDIS_URL_ASIA": cluster.url(1)}
    api = await start(**alone)
    await registered(api)
    assert (await api.define({}, "kills")).status_code == 201
    async with working(alone):
        await saved(alone)
    # An entry that only Redis has yet.
    user_id = min(user for user, (home, _) in PLAYERS.items() if home == "EU")
    shard = api.services.shard_map.shard_of("EU", user_id)
    await shard.client.zadd(shard.keys.entry_set("kills.1:all", "EU"), {user_id: 5})
    for own in (both, alone, both):
        api = await start(**own)
        assert await api.scores() == EXPECTED
        assert await api.scores("EU") == {user: score for user, (home, score) in PLAYERS.items() if home == "EU"}
        own_boards = {name for master in cluster.masters for name in master.ask("KEYS", "*:leaderboard:GLOBAL")}
        assert len(own_boards) == (1 if own is both else 0)
        sets = {name for master in cluster.masters for name in master.ask("KEYS", "*:leaderboard:kills.1:all:*")}
        assert {name.rpartition(":")[2] for name in sets} == ({"EU", "GLOBAL"} if own is both else {"EU"})


async def ask_all(shard_map: ShardMap) -> list[object]:
    """Ask every partition something in one turn of the event loop."""
    return await asyncio.gather(*(shard.pipeliner.execute(("PING",)) for shard in shard_map.shards))


async def test_partitions_of_one_node_travel_in_one_write(shard_map: ShardMap, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await ask_all(shard_map) == ["PONG"] * PARTITIONS
    writes = []
    write = _SelectorSocketTransport.write

    def counted(transport: _SelectorSocketTransport, data: bytes) -> None:
        writes.append(data)
        write(transport, data)

    monkeypatch.setattr(_SelectorSocketTransport, "write", counted)
    for _ in range(50):
        await ask_all(shard_map)
    assert [data.count(b"PING") for data in writes] == [2] * 150, "one a turn to each of three masters"


async def test_a_connection_that_several_partitions_share_is_made_anew_for_all(
    shard_map: ShardMap, cluster: Cluster
) -> None:
    await ask_all(shard_map)
    waiting = [shard.pipeliner.execute(("BLPOP", f"{shard.keys.prefix}none", 0)) for shard in shard_map.shards]
    await asyncio.sleep(0)
    for node in cluster.masters:
        await eventually(partial(blocked, node), "a call that waits")
        node.ask("CLIENT", "KILL", "TYPE", "NORMAL")
    for lost in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(lost, RedisConnectionError)
    assert await ask_all(shard_map) == ["PONG"] * PARTITIONS


async def blocked(node: Node) -> bool:
    return int(node.ask("INFO", "clients")["blocked_clients"]) > 0


async def test_who_leaves_a_shared_connection_leaves_it_to_the_others(shard_map: ShardMap, cluster: Cluster) -> None:
    await ask_all(shard_map)
    first, second = shard_map.shards[:2]
    assert cluster.owner(slot_of(tag_of(0, PARTITIONS))) is cluster.owner(slot_of(tag_of(1, PARTITIONS)))
    number = await second.pipeliner.execute(("CLIENT", "ID"))
    waiting = first.pipeliner.execute(("BLPOP", f"{first.keys.prefix}none", 0.2))
    await asyncio.sleep(0)
    first.leave_connections()
    assert await waiting is None, "what was asked is answered"
    assert await second.pipeliner.execute(("CLIENT", "ID")) == number
    another = await first.pipeliner.execute(("CLIENT", "ID"))
    assert another != number
    second.leave_connections()
    assert await second.pipeliner.execute(("CLIENT", "ID")) == another, "which both share again"
    listed = str(await first.command("CLIENT", "LIST", "ID", number, another))
    assert f"'{another}'" in listed or f"id={another}" in listed
    assert f"'{number}'" not in listed, "after its last user a connection ends"
    assert f"id={number} " not in listed


async def test_one_that_is_not_there_is_looked_for_once_and_told_to_all(
    environ: dict[str, str], tmp_path: Path
) -> None:
    with redis_cluster(tmp_path, replicas=0) as made:
        shard_map = ShardMap.open(load(TopologySettings, on(environ, made)))
        try:
            await ask_all(shard_map)
            made.masters[0].stop()
            found = await asyncio.gather(
                *(shard.pipeliner.execute(("PING",)) for shard in shard_map.shards), return_exceptions=True
            )
            assert [isinstance(answer, Exception) for answer in found] == [True, True, False, False, False, False]
            made.masters[0].start()

            async def all_answer() -> bool:
                try:
                    return await ask_all(shard_map) == ["PONG"] * PARTITIONS
                except (RedisError, OSError):
                    return False

            await eventually(all_answer, "answers of all partitions", seconds=10)
        finally:
            await shard_map.close()


async def test_a_node_that_has_left_the_cluster_does_not_hide_the_others(cluster: Cluster, tmp_path: Path) -> None:
    alone = Node(tmp_path, "redis-9")
    alone.start()
    try:
        url = f"redis+cluster://127.0.0.1:{alone.port},127.0.0.1:{cluster.masters[0].port}/"
        nodes = ClusterNodes(parse_endpoint(url), 2)
        for slot in (5, 16_000, 5, 16_000):
            assert await nodes.master_of(slot) == ("127.0.0.1", cluster.owner(slot).port)
    finally:
        alone.stop()


class Played(NamedTuple):
    """A cluster of one test, on which everybody is registered and saved, a service on it, and the players' tokens."""

    cluster: Cluster
    api: Api
    tokens: dict[str, str]


@pytest.fixture
async def played(
    start: Start, environ: dict[str, str], databases: RegionDatabases, own_cluster: Cluster
) -> AsyncIterator[Played]:
    """A worker runs meanwhile; in the end everything is saved, and Redis and Postgres agree."""
    own = {**on(environ, own_cluster), "CLOCK_SKEW_SECONDS": "0"}
    api = await start(**own)
    tokens = await registered(api)
    async with working(own, heartbeats=True):
        await saved(own)
        yield Played(own_cluster, api, tokens)
        await saved(own)
    await verified(own, databases)


async def test_a_master_is_killed_and_its_replica_takes_over(played: Played) -> None:
    cluster, api, tokens = played
    cluster.masters[0].signal(signal.SIGKILL)
    await eventually(lambda: is_read_from(api, "postgres"), "reads from Postgres", seconds=10)
    await eventually(lambda: is_read_from(api, "redis"), "reads from Redis again", seconds=30)
    await eventually(lambda: takes_writes(api, tokens), "writes to all players", seconds=10)


async def test_a_paused_master_is_replaced_and_comes_back_as_a_replica(played: Played) -> None:
    cluster, api, tokens = played
    paused = cluster.masters[1]
    paused.signal(signal.SIGSTOP)
    try:
        await eventually(lambda: takes_writes(api, tokens), "writes to all players", seconds=30)
    finally:
        paused.signal(signal.SIGCONT)

    async def follows() -> bool:
        return paused.role == "slave"

    await eventually(follows, "a replica", seconds=20)
    await eventually(lambda: takes_writes(api, tokens), "writes to all players", seconds=20)
    await eventually(lambda: is_read_from(api, "redis"), "reads from Redis", seconds=10)


async def test_slots_move_while_players_write(played: Played) -> None:
    """In one step, as Valkey 9 does: the partition is closed until it has been compared on its new node."""
    cluster, api, tokens = played
    slot = slot_of(tag_of(0, PARTITIONS))
    source, target = cluster.owner(slot), cluster.masters[2]
    assert source is not target
    if "MIGRATESLOTS" not in str(source.ask("CLUSTER", "HELP")):
        pytest.skip("this server moves slots key by key, which the next test tries")
    source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)

    async def moved() -> bool:
        await takes_writes(api, tokens)
        return cluster.owner(slot) is target

    await eventually(moved, "the slot on its new node", seconds=20)
    await eventually(lambda: takes_writes(api, tokens), "writes to all players", seconds=20)
    await eventually(lambda: is_read_from(api, "redis"), "reads from Redis", seconds=10)
    assert any(name.startswith(f"{{{tag_of(0, PARTITIONS)}}}") for name in target.ask("KEYS", "*"))


async def test_a_slot_that_is_moved_key_by_key_waits_until_it_has_arrived(played: Played) -> None:
    """Nothing is half written: what one node has a part of is refused by both."""
    cluster, api, tokens = played
    slot, prefix = slot_of(tag_of(0, PARTITIONS)), f"{{{tag_of(0, PARTITIONS)}}}:"
    source, target = cluster.owner(slot), cluster.masters[2]
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    names = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10_000)
    assert f"{prefix}leaderboard:EU" in names
    for name in sorted(names, reverse=True):
        assert source.ask("MIGRATE", LOOPBACK, target.port, name, 0, 5000) in ("OK", "NOKEY")
        if name == f"{prefix}leaderboard:EU":
            assert not await takes_writes(api, tokens)
            assert await is_read_from(api, "postgres")
    while names := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10_000):
        for name in names:
            source.ask("MIGRATE", LOOPBACK, target.port, name, 0, 5000, "REPLACE")
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
    await eventually(lambda: takes_writes(api, tokens), "writes to all players", seconds=20)
    await eventually(lambda: is_read_from(api, "redis"), "reads from Redis", seconds=10)


async def test_from_two_partitions_to_four_on_one_cluster(
    start: Start, environ: dict[str, str], databases: RegionDatabases, cluster: Cluster
) -> None:
    cluster.flush()
    two, four = on(environ, cluster, 2), on(environ, cluster, 4)
    api = await start(**two)
    await registered(api)
    code, output, complaint = await run_here(two, "check")
    assert code == 0, output + complaint
    code, output, complaint = await run_here(two, "repartition", four["REDIS_URL"], "--yes")
    assert code == 0, output + complaint
    names = [name for master in cluster.masters for name in master.ask("KEYS", "*")]
    tags = {name.partition("}")[0] for name in names if not name.endswith(":shard:layout")}
    assert tags == {f"{{{tag_of(index, 4)}" for index in range(4)}
    after = await start(**four)
    assert await after.scores() == EXPECTED
    await verified(four, databases)
    with pytest.raises(LayoutChanged, match="have been spread over other Redis"):
        await run_here(two, "verify")


async def test_without_a_majority_reads_come_from_postgres(played: Played) -> None:
    cluster, api, tokens = played
    for master in cluster.masters[:2]:
        master.signal(signal.SIGKILL)

    async def down() -> bool:
        return cluster.masters[2].cluster_info["cluster_state"] == "fail"

    await eventually(down, "a cluster that is down", seconds=20)
    await eventually(lambda: is_read_from(api, "postgres"), "reads from Postgres", seconds=10)
    answers = {(await api.post("/score/add", {"delta": 0}, token=token)).status_code for token in tokens.values()}
    assert answers == {503}
    for master in cluster.masters[:2]:
        master.stop()
        master.start()
    await eventually(lambda: takes_writes(api, tokens), "writes to all players", seconds=40)
    await eventually(lambda: is_read_from(api, "redis"), "reads from Redis", seconds=10)
