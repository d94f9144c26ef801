"""Runs a process: settings errors become one readable message, SIGTERM a clean stop with exit code 0."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn
import uvloop

from leaderboard_core import logs
from leaderboard_core.errors import Unavailable
from leaderboard_core.settings import ProcessSettings, SettingsError, load

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open; clients of ours give theirs up well before."""
GRACE_SECONDS = 8
"""How long a stopping process waits for the requests in hand."""


def run(process: str, main: Callable[[ProcessSettings], Coroutine[Any, Any, None]], default_port: int) -> None:
    """Load the process's settings, set up logging and run `main` until it returns; exits 1 on a bad start."""
    try:
        settings = load(ProcessSettings, port=default_port)
        if not settings.instance_name:
            settings = settings.model_copy(update={"instance_name": f"{process}-{settings.port}"})
        logs.setup(settings.instance_name, settings.log_level)
        uvloop.run(main(settings))
    except (SettingsError, Unavailable) as error:
        print(f"{process} cannot start.\n{error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


class _Server(uvicorn.Server):
    """uvicorn's server with a hook: it tells the application the moment that a stop was asked for."""

    on_stop: Callable[[], None] | None = None

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.on_stop is not None:
            self.on_stop()
        super().handle_exit(sig, frame)


async def serve(app: Any, settings: ProcessSettings, *, on_stop: Callable[[], None] | None = None) -> None:
    """Serve an ASGI application until SIGTERM or SIGINT, then finish the requests in hand.

    `on_stop` is called in the signal handler, before connections are closed.
    Raises SettingsError when the port cannot be had.
    """
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=4096,
    )
    server = _Server(config)
    server.on_stop = on_stop
    # uvicorn raises the signal again when it is done, to die of it; the handler it finds then is this one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        await server.serve()
    except SystemExit as error:
        raise SettingsError(
            f"HOST/PORT: cannot listen on {settings.host}:{settings.port}. "
            "Another process may have the port; stop it or set PORT to a free one."
        ) from error
    if not server.started:
        raise SettingsError("The application could not start; the log lines above say why.")


async def wait_for(
    *checks: Callable[[float, Callable[[str], None]], Coroutine[Any, Any, None]], seconds: float
) -> None:
    """Run the `wait_until_reachable` of stores together, logging once a second what is waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    problems = await asyncio.gather(*(check(deadline, log.warning) for check in checks), return_exceptions=True)
    for problem in problems:
        if problem is not None:
            raise problem
