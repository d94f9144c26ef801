"""Run a gateway, a service and a worker as processes, as in production."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from leaderboard_cli.cluster.plan import AppServer
from leaderboard_cli.cluster.ports import LOOPBACK, find_free_ports
from leaderboard_cli.cluster.server import running


@dataclass(frozen=True)
class Processes:
    """Base URLs and log files."""

    gateway: str
    service: str
    worker: str
    logs: Mapping[str, Path]

    @property
    def urls(self) -> dict[str, str]:
        return {"gateway": self.gateway, "service": self.service, "worker": self.worker}


@contextmanager
def processes(folder: Path, environ: Mapping[str, str]) -> Iterator[Processes]:
    """Run them on free ports, yielding when all are healthy. Raises StartError with the log of an unhealthy one."""
    ports = dict(zip(("worker", "service", "gateway"), find_free_ports(3), strict=True))
    environment = {**environ, "LEADERBOARD_SERVICE_URLS": f"http://{LOOPBACK}:{ports['service']}"}
    packages = {"worker": "worker_service", "service": "leaderboard_service", "gateway": "api_gateway"}
    servers = {name: AppServer(name, packages[name], ports[name], folder, environment) for name in packages}
    with ExitStack() as stack:
        # The worker first: a service is healthy once Redis has been rebuilt.
        for server in servers.values():
            stack.enter_context(running(server))
        yield Processes(
            servers["gateway"].url,
            servers["service"].url,
            servers["worker"].url,
            {name: server.log_path for name, server in servers.items()},
        )
