"""Run a Redis or Valkey of our own: loopback only, every write in an append-only file, no eviction."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from leaderboard_cli.cluster import logfiles, redis_damage
from leaderboard_cli.cluster.binaries import Binary
from leaderboard_cli.cluster.ports import LOOPBACK
from leaderboard_cli.cluster.probes import redis_answers
from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.secret_files import write_secret

_MALLOC = "glibc.malloc.tcache_count=2000:glibc.malloc.mxfast=0"
"""Servers without jemalloc spend a seventh of a script call in glibc's slow paths otherwise; ignored elsewhere."""


@dataclass(frozen=True)
class RedisServer:
    """Run Redis with its data in `<data_dir>/<flavour>-<major>/`; `durable=False` (tests) writes nothing to disk.

    Without a `password` it asks for none.
    """

    binary: Binary
    data_dir: Path
    port: int
    name: str = "redis"
    durable: bool = True
    appendfsync: str = "always"
    password: str = field(default="", repr=False)

    @property
    def folder(self) -> Path:
        return self.data_dir.absolute() / self.binary.data_name

    @property
    def log_path(self) -> Path:
        return logfiles.log_path(self.data_dir, self.name)

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{login}{LOOPBACK}:{self.port}/0"

    @property
    def config_path(self) -> Path:
        """Return the file with the password; beside the folder, which may be set aside with its data."""
        return self.data_dir.absolute() / f"{self.name}.conf"

    def prepare(self) -> None:
        """Create the folder, and a file for the password; existing data are kept."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # one of an earlier version was open to all
        if self.password:
            # Not on the command line, which everybody on this machine can read.
            write_secret(self.config_path, f'requirepass "{self.password}"\nmasterauth "{self.password}"\n')

    def command(self) -> Command:
        options = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self.folder),
            "unixsocket": "",
            "daemonize": "no",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": self.appendfsync,
            "save": "",  # the append-only file is the one copy on disk
            "maxmemory-policy": "noeviction",
            "tcp-backlog": "511",
            "loglevel": "notice",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        return Command(
            argv=(str(self.binary.path), *([str(self.config_path)] if self.password else []), *arguments),
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "GLIBC_TUNABLES": _MALLOC},
            cwd=self.folder,
            stop=((signal.SIGTERM, 8.0),),
        )

    def mend(self, log: Sequence[str]) -> str | None:
        """Mend data that kept it from starting, as the lines of its log say; return what was done, if anything."""
        return redis_damage.mend(self.folder, log)

    def ready(self) -> bool:
        """Tell whether it answers PING, which it does once its data are loaded."""
        return redis_answers(LOOPBACK, self.port, self.password)
