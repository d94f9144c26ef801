"""A real Redis whose append-only file is damaged: what is left of it, and that it starts."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from leaderboard_cli.cluster.binaries import Servers, find_redis
from leaderboard_cli.cluster.errors import StartError
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.process import Child
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running
from tests.support.waiting import eventually

KEYS = 100


class Kept:
    """A Redis under a supervisor's care, and what was said to the user."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.notes: list[str] = []
        self.child = Child(
            server.name,
            server.command(),
            server.log_path,
            server.ready,
            on_change=lambda _: None,
            note=self.notes.append,
            mend=server.mend,
        )

    async def keys(self) -> int:
        with redis.Redis.from_url(self.server.url) as client:
            return int(await asyncio.to_thread(client.dbsize))

    @property
    def aside(self) -> list[Path]:
        return [*self.server.data_dir.glob("*.damaged-*")]


@pytest.fixture
def server(tmp_path: Path) -> RedisServer:
    """A stopped Redis that holds KEYS keys, the last of them in its incremental file."""
    (port,) = find_free_ports(1)
    server = RedisServer(find_redis(Servers.WHEELS), tmp_path, port)
    with running(server), redis.Redis.from_url(server.url) as client:
        for number in range(KEYS):
            client.set(f"key-{number}", "value" * 20)
    return server


@asynccontextmanager
async def kept(server: RedisServer) -> AsyncIterator[Kept]:
    kept = Kept(server)
    try:
        await kept.child.start(20)
        yield kept
    finally:
        await kept.child.stop()


def file_of(server: RedisServer, ending: str) -> Path:
    (found,) = server.folder.glob(f"appendonlydir/*{ending}")
    return found


def put_zeros(path: Path, at: int, count: int) -> None:
    with path.open("r+b") as file:
        file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        file.write(b"\0" * count)


@pytest.mark.parametrize(("over", "count", "lost"), [(0, 1, 0), (0, 2**21 + 7, 0), (100, 4096, 1)])
async def test_zeros_at_the_end_are_cut_off_and_every_whole_command_is_kept(
    server: RedisServer, over: int, count: int, lost: int
) -> None:
    file = file_of(server, ".incr.aof")
    size = file.stat().st_size
    put_zeros(file, size - over, count)
    async with kept(server) as one:
        assert await one.keys() == KEYS - lost
        (note,) = one.notes
        assert "zero bytes off the end" in note
        assert note in server.log_path.read_text()
        assert one.aside == []


DAMAGES: dict[str, Callable[[RedisServer], None]] = {
    "zeros amid": lambda server: put_zeros(file_of(server, ".incr.aof"), 500, 100),
    "base": lambda server: put_zeros(file_of(server, ".base.rdb"), 0, 20),
    "an empty manifest": lambda server: os.truncate(file_of(server, ".manifest"), 0),
    "a file is gone": lambda server: file_of(server, ".incr.aof").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_cannot_be_loaded_is_set_aside_by_name_and_redis_starts_empty(
    server: RedisServer, damage: str
) -> None:
    DAMAGES[damage](server)
    files = {path.name: path.read_bytes() for path in (server.folder / "appendonlydir").iterdir()}
    async with kept(server) as one:
        assert await one.keys() == 0
        (note,), (aside,) = one.notes, one.aside
        assert f"set aside in {aside}" in note
        assert "check-aof" not in note, "a tool that the bundled server comes without"
        assert note in server.log_path.read_text()
        assert {path.name: path.read_bytes() for path in (aside / "appendonlydir").iterdir()} == files


async def test_one_that_crashed_is_mended_before_it_is_restarted(server: RedisServer) -> None:
    async with kept(server) as one:
        pid = one.child.pid
        assert pid is not None
        put_zeros(file_of(server, ".incr.aof"), 500, 100)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: asyncio.to_thread(lambda: bool(one.aside) and server.ready()), "the empty Redis")
        assert await one.keys() == 0


async def test_a_port_in_use_is_no_damage(server: RedisServer) -> None:
    server.log_path.write_text("1:M # Bad file format reading the append only file: of an earlier run\n")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", server.port))
        with pytest.raises(StartError, match="bind"):
            async with kept(server):
                pass
    async with kept(server) as one:
        assert (await one.keys(), one.notes, one.aside) == (KEYS, [], [])
