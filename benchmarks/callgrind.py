"""Run a server under Valgrind's callgrind, and count the instructions that it carries out between two moments."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.server import Server

_DUMP_SECONDS = 300
_TAIL_BYTES = 4096
PROGRAMS = ("valgrind", "callgrind_control")


def missing() -> str | None:
    """Say what is not installed, or None."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"This needs {' and '.join(absent)}: install the package valgrind." if absent else None


@dataclass(frozen=True)
class Counted:
    """A server that runs some fifty times slower, and is counted between `start` and `stop`."""

    server: Server
    folder: Path

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def log_path(self) -> Path:
        return self.server.log_path

    def prepare(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.server.prepare()

    def command(self) -> Command:
        command = self.server.command()
        counting = ("--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self._dumps}")
        options = (*counting, self._channel)
        return replace(command, argv=(shutil.which("valgrind") or "valgrind", *options, *command.argv))

    def ready(self) -> bool:
        return self.server.ready()

    @property
    def _dumps(self) -> Path:
        return self.folder / f"{self.name}.callgrind"

    @property
    def _channel(self) -> str:
        """Where it is told what to do."""
        return f"--vgdb-prefix={self.folder / 'vgdb'}"

    def start(self) -> None:
        """Count from now on, from 0."""
        self._control("--zero")
        self._control("--instr=on")

    def stop(self) -> int:
        """Return what was counted since `start`."""
        before = set(self._written())
        self._control("--dump")
        deadline = time.monotonic() + _DUMP_SECONDS
        while time.monotonic() < deadline:
            for path in set(self._written()) - before:
                _, found, total = _tail(path).partition("totals: ")  # its last line
                if found and total.endswith("\n"):
                    self._control("--instr=off")  # which forgets what was counted
                    return int(total)
            time.sleep(0.1)
        raise TimeoutError(f"valgrind wrote no numbers of {self.name} in {_DUMP_SECONDS} s")

    def _written(self) -> list[Path]:
        return list(self.folder.glob(f"{self._dumps.name}.*"))

    def _control(self, order: str) -> None:
        command = ["callgrind_control", self._channel, order, str(self._pid())]
        # The names of what they talk through are made of these, and HOST is where the service listens.
        own = self.server.command().env
        environ = {name: own[name] for name in ("USER", "LOGNAME", "HOST", "HOSTNAME") if name in own}
        environ["PATH"] = os.environ.get("PATH", "")
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
        if "error" in done.stderr:  # it exits with 0 all the same
            raise RuntimeError(f"{self.name}: {done.stderr}")

    def _pid(self) -> int:
        """Return the process that writes to these files: `callgrind_control` knows processes by number only."""
        wanted = f"--callgrind-out-file={self._dumps}".encode()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue  # it has just ended
            if wanted in words and b"launch.py" not in b" ".join(words):
                return int(path.parent.name)
        raise ProcessLookupError(f"{self.name} does not run")


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")
