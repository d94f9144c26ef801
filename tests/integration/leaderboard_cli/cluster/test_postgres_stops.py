"""Test that a Postgres ends in bounded time whatever its processes do, leaves none and loses nothing committed."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from leaderboard_cli.cluster.binaries import Servers, find_postgres
from leaderboard_cli.cluster.pidfile import identity_of
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.process import Child
from leaderboard_cli.cluster.process_tree import descendants
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of Postgres' processes come from /proc")
FAST_SECONDS = 1.0
"""For a fast shutdown, in the place of 6 s."""
LONGEST_STOP_SECONDS = 20.0


class Supervised:
    """A Postgres as `leaderboard up` runs it, with a client's connection."""

    def __init__(self, folder: Path) -> None:
        self.server = PostgresServer(find_postgres(Servers.WHEELS, folder), folder, find_free_ports(1)[0])
        self.server.prepare()
        self.notes: list[str] = []
        command = self.server.command()
        (fast, _), *rest = command.stop
        self.child = Child(
            "postgres",
            replace(command, stop=((fast, FAST_SECONDS), *rest)),
            self.server.log_path,
            self.server.ready,
            on_change=lambda _: None,
            note=self.notes.append,
            mend=self.server.mend,
        )

    @property
    def pid(self) -> int:
        assert self.child.pid is not None
        return self.child.pid

    def processes(self, title: str = "") -> list[int]:
        """List the server's processes, or those of its children whose title has that in it."""
        return [pid for pid in descendants(self.pid) if title in _title(pid)] + ([] if title else [self.pid])

    async def commit(self) -> Any:
        """Commit a row, and leave the connection open."""
        connection = await asyncpg.connect(self.server.dsn())
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (at timestamptz DEFAULT now())")
        await connection.execute("INSERT INTO kept DEFAULT VALUES")
        return connection


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def _a_stopped_backend(supervised: Supervised) -> None:
    (backend,) = supervised.processes("127.0.0.1(")
    os.kill(backend, signal.SIGSTOP)


async def _all_stopped(supervised: Supervised) -> None:
    for pid in supervised.processes():
        os.kill(pid, signal.SIGSTOP)


async def _recovery_after_a_crash(supervised: Supervised) -> None:
    """Hold Postgres where a fast shutdown makes Postgres 18 wait for processes that it does not tell to end."""

    async def recovering() -> int:
        os.kill(supervised.processes("checkpointer")[0], signal.SIGKILL)
        try:
            (startup,) = await eventually(lambda: supervised.processes("startup"), "a recovery", seconds=2)
        except AssertionError:
            return 0  # it was over before anybody saw it
        os.kill(startup, signal.SIGSTOP)
        return startup if supervised.processes("startup") else 0

    await eventually(recovering, "a recovery that is held", seconds=20)


async def _let_recovery_end(supervised: Supervised) -> None:
    log = supervised.server.log_path
    await eventually(lambda: "received fast shutdown request" in log.read_text(), "the fast shutdown")
    for startup in supervised.processes("startup"):
        os.kill(startup, signal.SIGCONT)


async def test_one_that_dies_by_itself_comes_back_though_a_child_of_it_hangs(tmp_path: Path) -> None:
    """Nobody ends a stopped child of a killed postmaster, and it holds the shared memory."""
    supervised = Supervised(tmp_path)
    await supervised.child.start(30)
    connection = await supervised.commit()
    (backend,) = supervised.processes("127.0.0.1(")
    left = identity_of(backend)
    os.kill(backend, signal.SIGSTOP)
    before = supervised.pid
    os.kill(before, signal.SIGKILL)
    try:
        await eventually(
            lambda: supervised.child.pid not in (None, before) and supervised.server.ready(), "another one", seconds=30
        )
        assert identity_of(backend) != left
        assert any(f"(pid {backend})" in note for note in supervised.notes)
        again = await asyncpg.connect(supervised.server.dsn())
        assert await again.fetchval("SELECT count(*) FROM kept") == 1
        await again.close()
    finally:
        connection.terminate()
        await supervised.child.stop()


@pytest.mark.parametrize(
    ("hinder", "said"),
    [(_a_stopped_backend, "SIGQUIT follows"), (_all_stopped, "SIGKILL follows"), (_recovery_after_a_crash, "")],
    ids=["a stopped backend", "all stopped", "a recovery after a crash"],
)
async def test_a_stop_ends_whatever_hinders_it(
    tmp_path: Path, hinder: Callable[[Supervised], Awaitable[None]], said: str
) -> None:
    supervised = Supervised(tmp_path)
    await supervised.child.start(30)
    connection = await supervised.commit()
    identities = {pid: identity_of(pid) for pid in supervised.processes()}
    await hinder(supervised)
    began = time.monotonic()
    stop = asyncio.create_task(supervised.child.stop())
    identities |= {pid: identity_of(pid) for pid in supervised.processes()}
    if hinder is _recovery_after_a_crash:
        await _let_recovery_end(supervised)
    await stop
    assert time.monotonic() - began < LONGEST_STOP_SECONDS
    connection.terminate()

    def left() -> list[int]:
        return [pid for pid, identity in identities.items() if identity and identity_of(pid) == identity]

    try:
        await eventually(lambda: not left(), f"the end of all processes, after {supervised.notes}", seconds=2)
    finally:
        for pid in left():
            os.kill(pid, signal.SIGKILL)
    assert said in " ".join(supervised.notes)
    again = Supervised(tmp_path)
    await again.child.start(30)
    connection = await again.commit()
    assert await connection.fetchval("SELECT count(*) FROM kept") == 2
    await connection.close()
    await again.child.stop()
    assert again.notes == []
