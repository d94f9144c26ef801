"""Names beside the rows of a board: on a server that takes none by SORT_RO, and while their slot is being moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import redis

from leaderboard_cli.cluster.binaries import Servers, find_redis
from leaderboard_cli.cluster.ports import LOOPBACK, find_free_ports
from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running
from leaderboard_core.redis import lua
from leaderboard_core.redis.keys import Keys
from tests.support.own_redis import OwnRedis
from tests.support.waiting import eventually

KEYS = Keys("{tag}")
ADMISSION = "some admission"
ROWS, NAMED = ["c", "3", "b", "2", "a", "1"], ["name of c", "EU", "name of b", "EU", "name of a", "EU"]


def run(client: redis.Redis, *words: str | int) -> Any:
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


def fill(client: redis.Redis) -> None:
    client.set(KEYS.admission, ADMISSION)
    client.set(KEYS.definition("main"), "0 1")
    for score, user_id in enumerate("abc", 1):
        client.zadd(KEYS.board("EU"), {user_id: score})
        client.hset(KEYS.user(user_id), mapping={"name": f"name of {user_id}", "region": "EU"})


def read(client: redis.Redis, *, homes: bool = True, digits: int = 0) -> tuple[list[str], list[str]]:
    source = lua.load("read_top").under(ADMISSION).source
    keys = (KEYS.admission, KEYS.board("EU"), KEYS.definition("main"))
    *_, rows, named = client.eval(source, 3, *keys, KEYS.user(""), digits, "1" if homes else "", 0, 10)
    return rows.split("\0"), named.split("\0")


def test_a_hash_that_is_gone_has_no_name(own_redis: OwnRedis) -> None:
    with own_redis.client() as client:
        fill(client)
        assert read(client) == (ROWS, NAMED)
        client.delete(KEYS.user("b"))
        assert read(client) == (ROWS, [*NAMED[:2], "", "", *NAMED[4:]])
        assert read(client, homes=False) == (ROWS, [NAMED[0], "", NAMED[4]])


def test_members_that_are_more_than_user_ids_have_the_names_of_their_players(own_redis: OwnRedis) -> None:
    with own_redis.client() as client:
        fill(client)
        members = [f"{9 - score}{user_id}" for score, user_id in enumerate("abc", 1)]
        client.delete(KEYS.board("EU"))
        client.zadd(KEYS.board("EU"), dict.fromkeys(members, 5))
        rows = [word for member in sorted(members, reverse=True) for word in (member, "5")]
        names = [f"name of {member[1:]}" for member in rows[::2]]
        assert read(client, digits=1) == (rows, [word for name in names for word in (name, "EU")])
        assert read(client, digits=1, homes=False) == (rows, names)


def test_names_come_without_sort_ro(own_redis: OwnRedis) -> None:
    with own_redis.client() as client:
        fill(client)
        run(client, "ACL", "SETUSER", "default", "-sort_ro")
        assert read(client) == (ROWS, NAMED)
        assert read(client, homes=False) == (ROWS, NAMED[::2])


@dataclass(frozen=True)
class Node(RedisServer):
    """A node of a cluster."""

    bus_port: int = 0

    def command(self) -> Command:
        plain = super().command()
        return replace(plain, argv=(*plain.argv, "--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)))


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[redis.Redis]]:
    """Two nodes that do not know each other yet."""
    ports = find_free_ports(4)
    with ExitStack() as stack:
        clients = []
        for port, bus_port in ((ports[0], ports[1]), (ports[2], ports[3])):
            server = Node(find_redis(Servers.WHEELS), tmp_path / str(port), port, durable=False, bus_port=bus_port)
            stack.enter_context(running(server))
            clients.append(stack.enter_context(redis.Redis.from_url(server.url, decode_responses=True)))
        yield clients


async def test_a_hash_that_has_been_moved_is_an_error_and_not_a_player_without_a_name(nodes: list[redis.Redis]) -> None:
    old, new = nodes
    port, bus_port = (str(new.config_get(name)[name]) for name in ("port", "cluster-port"))
    run(old, "CLUSTER ADDSLOTSRANGE", 0, 16383)
    run(old, "CLUSTER MEET", LOOPBACK, port, bus_port)

    def know_each_other() -> bool:
        return all(run(node, "CLUSTER INFO")["cluster_state"] == "ok" for node in nodes)

    await eventually(know_each_other, "a cluster")
    fill(old)
    assert read(old) == (ROWS, NAMED)
    slot = run(old, "CLUSTER KEYSLOT", KEYS.admission)
    run(new, "CLUSTER SETSLOT", slot, "IMPORTING", run(old, "CLUSTER MYID"))
    run(old, "CLUSTER SETSLOT", slot, "MIGRATING", run(new, "CLUSTER MYID"))
    assert read(old) == (ROWS, NAMED)
    run(old, "MIGRATE", LOOPBACK, port, KEYS.user("b"), 0, 5000)
    for homes in (True, False):
        with pytest.raises(redis.ResponseError, match="non local key"):
            read(old, homes=homes)
