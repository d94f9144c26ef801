"""Run Redis on a disk whose fsyncs take a chosen time, and cut its power."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.redis_server import RedisServer

_SOURCE = Path(__file__).with_name("slow_disk.c")
_FIELDS = struct.Struct("QQ")


class SlowDisk:
    """The disk under one Redis: its delay is set from here, and it tells how much of the file survives a power cut."""

    def __init__(self, folder: Path) -> None:
        """Compile the library. Exits with how to mend it when there is no C compiler."""
        compiler = shutil.which("cc") or sys.exit("A C compiler is needed: on Debian and Ubuntu, apt-get install gcc")
        self.library, self.file = folder / "slow_disk.so", folder / "slow_disk"
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", self.library, _SOURCE, "-ldl"], check=True)
        self.file.write_bytes(bytes(_FIELDS.size))
        with self.file.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FIELDS.size)

    def set_delay(self, microseconds: int) -> None:
        """Make each fsync take this much longer than the machine's own."""
        _FIELDS.pack_into(self._memory, 0, microseconds, self.safe_length)

    @property
    def safe_length(self) -> int:
        """Return how many bytes of the append-only file the last finished fsync has covered."""
        return int(_FIELDS.unpack_from(self._memory)[1])

    def cut_power(self, folder: Path) -> int:
        """Take from a killed Redis' append-only file what no fsync has covered; return the bytes taken."""
        newest = max(folder.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)
        written = newest.stat().st_size
        with newest.open("r+b") as file:
            file.truncate(min(written, self.safe_length))
        return written - min(written, self.safe_length)


@dataclass(frozen=True)
class SlowRedis(RedisServer):
    """A Redis with the library in front of its fsyncs."""

    disk: SlowDisk = field(kw_only=True)

    def command(self) -> Command:
        command = super().command()
        environ = {**command.env, "LD_PRELOAD": str(self.disk.library), "SLOW_DISK": str(self.disk.file)}
        never = ("--auto-aof-rewrite-percentage", "0")  # one file for the whole run: the library measures its length
        return replace(command, argv=(*command.argv, *never), env=environ)
