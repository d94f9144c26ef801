"""Supervise one process: start it in its own session, restart it after a crash, stop it gracefully first."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from leaderboard_cli.cluster.errors import StartError
from leaderboard_cli.cluster.logfiles import tail
from leaderboard_cli.cluster.privileges import RunAs
from leaderboard_cli.cluster.process_tree import kill_group, kill_tree
from leaderboard_core.backoff import Backoff

_LAUNCHER = Path(__file__).with_name("launch.py")
RESTARTS = Backoff(first=0.2, most=10.0)
"""How long to wait after each crash in a row before the process is started again."""
_MOST_MENDS = 2
"""How often a start is tried again after the data were mended."""
_STEADY_SECONDS = 30.0
_POLL_SECONDS = 0.05
_KILL_SECONDS = 5.0

StopStep = tuple[signal.Signals, float]


@dataclass(frozen=True)
class Command:
    """A program to run, and how to end it.

    `stop` is a list of signals, each with the seconds to wait for the exit before the next; SIGKILL follows.
    `death_signal` is sent by the kernel (Linux) when the process that started it dies. `loaded` is the same program
    for a start ahead of time (`loaded.py`): it loads, says so, and runs when it is told to.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None = None
    run_as: RunAs = field(default_factory=RunAs)
    stop: tuple[StopStep, ...] = ((signal.SIGTERM, 5.0),)
    death_signal: signal.Signals = signal.SIGTERM
    loaded: tuple[str, ...] = ()

    def launch_argv(self, argv: Sequence[str] = ()) -> list[str]:
        """Build the command line that ties the process to this one and changes user if needed."""
        uid = -1 if self.run_as.uid is None else self.run_as.uid
        gid = -1 if self.run_as.gid is None else self.run_as.gid
        numbers = (os.getpid(), int(self.death_signal), uid, gid)
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), *map(str, numbers)]
        return [*launcher, *self.run_as.prefix, *(argv or self.argv)]


def describe_exit(code: int) -> str:
    """Describe an exit: `exit code 3`, or the name of the signal that ended the process."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class Child:
    """A process that is kept running between `start()` and `stop()`.

    `on_change(child)` is called whenever its pid changes, `note(text)` for messages to the user. `mend(lines)` is given
    what it wrote to its log when it ended by itself, and says what it put right so that it can start, if anything.
    """

    def __init__(
        self,
        name: str,
        command: Command,
        log_path: Path,
        ready: Callable[[], bool],
        *,
        on_change: Callable[[Child], None],
        note: Callable[[str], None],
        mend: Callable[[Sequence[str]], str | None] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = command
        self._ready = ready
        self._on_change = on_change
        self._note = note
        self._mend = mend
        self._log_start = 0
        self._process: asyncio.subprocess.Process | None = None
        self._first = asyncio.Lock()  # there is one process, whether `load` or `start` makes it
        self._tell: asyncio.StreamWriter | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Return the pid of the running process; None between two of them."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def keeper(self) -> asyncio.Task[None] | None:
        """Return the task that restarts it, once it was ready; it ends by itself only when it failed."""
        return self._keeper

    async def load(self) -> None:
        """Start it ahead of time, as far as it needs nothing else, and return then; `start` lets it run."""
        async with self._first:
            if self._process is not None:
                return
            ours, theirs = socket.socketpair()
            with theirs:
                said, self._tell = await asyncio.open_connection(sock=ours)
                await self._spawn(self._command.loaded, stdin=theirs.fileno())
        await said.read(1)

    async def start(self, deadline_seconds: float) -> None:
        """Start it and return when it is ready. Raises StartError when it exits before that or takes too long."""
        async with self._first:
            process, mends = self._let_run() or await self._spawn(), 0
        deadline = time.monotonic() + deadline_seconds
        while not await asyncio.to_thread(self._ready):
            if (code := process.returncode) is not None:
                if mends == _MOST_MENDS or not await self._mended():
                    raise StartError(self.name, describe_exit(code), tail(self.log_path))
                process, mends = await self._spawn(), mends + 1
            if time.monotonic() > deadline:
                reason = f"not ready after {deadline_seconds:.0f} s"
                raise StartError(self.name, reason, tail(self.log_path))
            await asyncio.sleep(_POLL_SECONDS)
        if process.returncode is not None:  # another process answered on its port
            raise StartError(self.name, describe_exit(process.returncode), tail(self.log_path))
        self._close_line()
        self._keeper = asyncio.create_task(self._keep(process), name=f"keep {self.name}")

    def _let_run(self) -> asyncio.subprocess.Process | None:
        process, tell = self._process, self._tell
        if process is None or tell is None or process.returncode is not None:
            return None
        tell.write(b"\n")
        return process

    def _close_line(self) -> None:
        if self._tell is not None:
            self._tell.close()
            self._tell = None

    async def stop(self) -> None:
        """Stop it: the graceful signals first, each with its time, then SIGKILL; safe to call at any time."""
        self._stopping.set()
        self._close_line()
        process = self._process
        if process is not None:
            if process.returncode is None:
                await self._end(process)
            kill_group(process.pid)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._on_change(self)

    def kill(self) -> None:
        """Send SIGKILL at once, for a user who does not want to wait."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            kill_tree(self._process.pid)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        followers = [*(number for number, _ in self._command.stop[1:]), signal.SIGKILL]
        for (number, seconds), follower in zip(self._command.stop, followers, strict=True):
            with suppress(ProcessLookupError):
                process.send_signal(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), seconds)
                return
            self._note(f"{self.name} did not stop within {seconds:g} s of {number.name}: {follower.name} follows")
        kill_tree(process.pid)
        await asyncio.wait_for(process.wait(), _KILL_SECONDS)

    async def _spawn(
        self, argv: Sequence[str] = (), *, stdin: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        with _open_log(self.log_path) as log:
            self._log_start = log.seek(0, os.SEEK_END)
            self._process = await asyncio.create_subprocess_exec(
                *self._command.launch_argv(argv),
                stdin=stdin,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(self._command.env),
                cwd=self._command.cwd,
                start_new_session=True,
            )
        self._on_change(self)
        return self._process

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        crashes = 0
        started = time.monotonic()
        while True:
            code = await process.wait()
            if self._stopping.is_set():
                return
            # Workers of a killed master would keep its port.
            kill_group(process.pid)
            if time.monotonic() - started > _STEADY_SECONDS:
                crashes = 0
            delay = RESTARTS.pause(crashes)
            crashes += 1
            self._note(f"{self.name} ended ({describe_exit(code)}); restarting it in {delay:.1f} s")
            self._on_change(self)
            await self._mended()
            while not await self._stopped_within(delay):
                started = time.monotonic()
                try:
                    process = await self._spawn()
                    break
                except OSError as error:  # no memory, or no room for its log
                    delay = RESTARTS.pause(crashes)
                    crashes += 1
                    self._note(f"{self.name} cannot be started: {error}; trying again in {delay:.1f} s")
            else:
                return

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def _mended(self) -> bool:
        """Mend what kept the process from running, if that can be told from its log; say so there and to the user."""
        if self._mend is None:
            return False
        try:
            done = await asyncio.to_thread(self._mend, tail(self.log_path, after=self._log_start))
            if done is None:
                return False
            said = f"{self.name}: {done}"
            self._note(said)
            with _open_log(self.log_path) as log:
                log.write(f"{said}\n".encode())
        except OSError as error:
            self._note(f"{self.name}: its data cannot be mended: {error}")
            return False
        return True


def _open_log(path: Path) -> IO[bytes]:
    # Append mode, so that several starts share the file and it may be truncated while it is written.
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")
