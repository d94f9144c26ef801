"""Runs a process: settings errors become one readable message, SIGTERM a clean stop with exit code 0."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from leaderboard_core.errors import Unavailable
from leaderboard_core.http import open_files
from leaderboard_core.http.cross_origin import CrossOrigin
from leaderboard_core.http.server import create_server
from leaderboard_core.http.sockets import is_reached_locally, listen, listen_locally, local_socket
from leaderboard_core.settings import ProcessSettings, SettingsError, TracingSettings, load
from leaderboard_core.settings.foreign import keep_out
from leaderboard_core.telemetry import logs, tracing

log = logging.getLogger(__name__)


def run(process: str, main: Callable[[ProcessSettings], Coroutine[Any, Any, None]], default_port: int) -> None:
    """Load the process's settings, set up logging and run `main` until it returns; exits 1 on a bad start."""
    kept_out = keep_out(os.environ)
    try:
        settings = load(ProcessSettings, port=default_port)
        if not settings.instance_name:
            settings = settings.model_copy(update={"instance_name": f"{process}-{settings.port}"})
        logs.setup(settings.instance_name, settings.log_level)
        if kept_out:
            log.info("these variables of the environment are not heeded: %s", ", ".join(kept_out))
        open_files.raise_limit()
        tracing.start(load(TracingSettings), process, settings.instance_name)
        try:
            uvloop.run(main(settings))
        finally:
            tracing.stop()
    except (SettingsError, Unavailable) as error:
        words = "\n".join((str(error), *getattr(error, "__notes__", ())))  # the notes are for operators
        print(f"{process} cannot start.\n{words}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


async def serve(
    app: Any, settings: ProcessSettings, *, on_stop: Callable[[], None] = lambda: None, notice_seconds: float = 0
) -> None:
    """Serve an ASGI application until SIGTERM or SIGINT, then finish the requests in hand.

    `on_stop` is called when the stop begins; for `notice_seconds` more everything is served.
    Raises SettingsError when the port cannot be had.
    """
    listener = listen(settings.host, settings.port)
    # After the port: whoever has that may take the place of what stands under the socket's name.
    folder = settings.socket_dir if is_reached_locally(settings.host) else None
    local = listen_locally(local_socket(folder, settings.port)) if folder else None
    server = create_server(
        app,
        on_stop=on_stop,
        notice_seconds=notice_seconds,
        head_seconds=settings.client_timeout_seconds,
        local=local,
        cross_origin=CrossOrigin(app, settings.cors_origins) if settings.cors_origins else None,
    )
    # uvicorn raises the signal again when it is done, to die of it; the handler it finds then is this one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # What lives now lives as long as the process: the garbage collector need not look at it again.
    gc.collect()
    gc.freeze()
    try:
        await server.serve(sockets=[listener])
    finally:
        if not server.started:  # uvicorn exits when the application fails to start
            server.unlink_socket()
    if not server.started:
        raise SettingsError("The application could not start; the log lines above say why.")


async def wait_for(
    *checks: Callable[[float, Callable[[str], None]], Coroutine[Any, Any, None]],
    seconds: float,
    on_wait: Callable[[str], None] = log.warning,
) -> None:
    """Run the `wait_until_reachable` of stores together; `on_wait` hears of each try that fails. Raises Unavailable."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    problems = await asyncio.gather(*(check(deadline, on_wait) for check in checks), return_exceptions=True)
    for problem in problems:
        if problem is not None:
            raise problem
