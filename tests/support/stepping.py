"""Run a Redis whose clock a test can step, by libfaketime; every other process keeps the real one."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.redis_server import RedisServer
from tests.support.own_redis import OwnRedis
from tests.support.waiting import wait_until

_FOLDERS = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime")
_MISSING = "needs libfaketime (Debian: apt-get install faketime)"
_CLOSE_SECONDS = 60.0


@dataclass(frozen=True)
class _SteppingServer(RedisServer):
    """A Redis under the library, which reads the offset again at each look at the clock."""

    library: str = ""

    @property
    def offset_path(self) -> Path:
        return self.data_dir / "offset"

    def prepare(self) -> None:
        super().prepare()
        self.set_offset(0)

    def command(self) -> Command:
        command = super().command()
        faked = {
            "LD_PRELOAD": self.library,
            "FAKETIME_TIMESTAMP_FILE": str(self.offset_path),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return replace(command, env={**command.env, **faked})

    def set_offset(self, seconds: int) -> None:
        draft = self.offset_path.with_suffix(".new")
        draft.write_text(f"{seconds:+d}")
        draft.replace(self.offset_path)


class SteppingRedis(OwnRedis):
    """A Redis whose clock goes with the real one until it is stepped."""

    def __init__(self, folder: Path, library: str) -> None:
        super().__init__(folder)
        plain = self.server
        self._stepping = _SteppingServer(plain.binary, plain.data_dir, plain.port, library=library)
        self.server = self._stepping

    def offset(self) -> float:
        """Return how far its clock is ahead of ours, in seconds."""
        with self.client() as client:
            return float(client.time()[0]) - time.time()

    def step(self, seconds: int) -> None:
        """Let its clock be so far ahead of ours, in seconds; negative: behind. Raises AssertionError."""
        self._stepping.set_offset(seconds)
        wait_until(lambda: abs(self.offset() - seconds) < _CLOSE_SECONDS, "the step of the clock", seconds=5)


def find_library() -> str | None:
    """Return libfaketime; None where there is none."""
    if platform.system() != "Linux":
        return None
    found = (path for folder in _FOLDERS for path in Path("/").glob(f"{folder[1:]}/libfaketime.so.1"))
    return next(map(str, found), None)


@contextmanager
def stepping_redis(folder: Path) -> Iterator[SteppingRedis]:
    """Run one for a test, which is skipped where the library is missing or the server does not heed it."""
    library = find_library()
    if library is None:
        pytest.skip(_MISSING)
    redis = SteppingRedis(folder, library)
    redis.start()
    try:
        try:
            redis.step(-3600)
        except AssertionError:
            pytest.skip("libfaketime has no hold of this Redis, which may be linked statically")
        redis.step(0)
        yield redis
    finally:
        redis.stop()
