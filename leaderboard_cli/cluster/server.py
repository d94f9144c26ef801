"""Define what every embedded server offers, and run one for the length of a `with` block."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from leaderboard_cli.cluster.errors import StartError
from leaderboard_cli.cluster.logfiles import tail
from leaderboard_cli.cluster.process import Command, describe_exit
from leaderboard_cli.cluster.process_tree import kill_group, kill_tree

_POLL_SECONDS = 0.02


class Server(Protocol):
    """A server program with its folder and port.

    `prepare()` creates folders and configuration (it may take seconds, raises ClusterError) and comes before
    `command()`; `ready()` asks the running server and never raises.
    """

    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def log_path(self) -> Path: ...
    def prepare(self) -> None: ...
    def command(self) -> Command: ...
    def ready(self) -> bool: ...


AnyServer = TypeVar("AnyServer", bound=Server)


@contextmanager
def running(server: AnyServer, *, deadline_seconds: float = 30.0) -> Iterator[AnyServer]:
    """Prepare and start `server`, yield it when it is ready, and stop it at the end.

    Raises StartError with the end of its log when it exits or is not ready in time. Call it from a thread that
    outlives the server (the main thread): the server ends with that thread.
    """
    server.prepare()
    command = server.command()
    server.log_path.parent.mkdir(parents=True, exist_ok=True)
    with server.log_path.open("ab") as log:
        process = subprocess.Popen(
            command.launch_argv(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(command.env),
            cwd=command.cwd,
            start_new_session=True,
        )
    try:
        _wait_ready(server, process, deadline_seconds)
        yield server
    finally:
        _stop(process, command)


def _wait_ready(server: Server, process: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        answers = server.ready()
        if process.poll() is not None:  # checked second: another process may have answered on its port
            raise StartError(server.name, describe_exit(process.returncode), tail(server.log_path))
        if answers:
            return
        if time.monotonic() > deadline:
            raise StartError(server.name, f"not ready after {seconds:.0f} s", tail(server.log_path))
        time.sleep(_POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes], command: Command) -> None:
    for number, seconds in command.stop:
        if process.poll() is None:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
    if process.poll() is None:
        kill_tree(process.pid)
    kill_group(process.pid)
    process.wait()
