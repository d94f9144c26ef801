"""Run the floor F: a bare uvicorn application that answers a constant, three processes behind the same NGINX.

`python -m benchmarks.floor` is one of the three processes.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from leaderboard_cli.cluster.binaries import Servers, find_nginx
from leaderboard_cli.cluster.nginx_server import NginxServer
from leaderboard_cli.cluster.plan import AppServer
from leaderboard_cli.cluster.ports import LOOPBACK, find_free_ports
from leaderboard_cli.cluster.server import running

PROCESSES = 3
REPOSITORY = Path(__file__).resolve().parents[1]
_BODY = b'{"found":true,"region":"GLOBAL","total":1000000,"rank":4711,"user_id":"asia-00000001","name":"P","score":1}'
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())],
}
_END = {"type": "http.response.body", "body": _BODY}


async def app(scope: Any, _: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer every request with the same bytes."""
    if scope["type"] == "http":
        await send(_START)
        await send(_END)


@contextmanager
def floor(folder: Path) -> Iterator[str]:
    """Run the three processes and an NGINX on the cluster's own template; yield the URL."""
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(REPOSITORY)}
    ports = find_free_ports(PROCESSES + 1)
    with ExitStack() as stack:
        for number, port in enumerate(ports[1:], 1):
            stack.enter_context(running(AppServer(f"floor-{number}", "benchmarks.floor", port, folder, environ)))
        addresses = [f"{LOOPBACK}:{port}" for port in ports[1:]]
        front = stack.enter_context(running(NginxServer(find_nginx(Servers.WHEELS), folder, ports[0], addresses)))
        yield front.url


if __name__ == "__main__":
    uvicorn.run(
        app,
        host=os.environ["HOST"],
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
