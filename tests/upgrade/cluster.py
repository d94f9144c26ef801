"""Run a cluster whose processes are of two versions, each replaced on its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from leaderboard_cli.cluster import state
from leaderboard_cli.cluster.binaries import Servers
from leaderboard_cli.cluster.plan import AppServer, ClusterOptions, Plan, make_plan
from leaderboard_cli.cluster.process import Child
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import Server
from tests.acceptance.cluster import REPOSITORY, Cluster, clean_environment

_START_SECONDS = 60.0


@dataclass
class MixedCluster(Cluster):
    """Processes by name, each with the code of one of two folders; a crashed one comes back with the same code."""

    plan: Plan
    old: Path
    notes: list[str] = field(default_factory=list)
    _children: dict[str, Child] = field(default_factory=dict)

    async def start(self, server: Server, code: Path = REPOSITORY) -> None:
        """Start a process with the code of a folder, and wait until it is healthy. Raises StartError."""
        await asyncio.to_thread(server.prepare)
        command = server.command()
        if isinstance(server, AppServer):
            command = replace(command, cwd=code, env={**command.env, "PYTHONPATH": str(code)})
        child = self._children[server.name] = Child(
            server.name,
            command,
            server.log_path,
            server.ready,
            on_change=lambda _: self.record(),
            note=self.notes.append,
            mend=server.mend if isinstance(server, RedisServer) else None,
        )
        await child.start(_START_SECONDS)

    async def end(self, name: str, *, killed: bool = False) -> None:
        """End a process for good, by SIGTERM or SIGKILL."""
        if killed:
            self._children[name].kill()
        await self._children[name].stop()

    async def upgrade(self, name: str) -> None:
        """End a process by SIGTERM and start this version in its place."""
        await self.end(name)
        await self.start(self.server(name))

    def server(self, name: str) -> Server:
        (found,) = (server for server in self.plan.all_servers if server.name == name)
        return found

    async def old_command(self, *words: str) -> tuple[int, str]:
        """Run a `leaderboard` command of the version before; return exit code and output."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "leaderboard_cli", *words),
            cwd=self.old,
            env={**self.plan.environ, "PYTHONPATH": str(self.old)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")

    def record(self) -> None:
        """Write cluster.json, by which commands and faults find the processes."""
        none: dict[str, int | None] = dict.fromkeys(server.name for server in self.plan.all_servers)
        state.write(self.plan, none | {name: child.pid for name, child in self._children.items()}, "ready")

    async def stop_all(self) -> None:
        """Kill everything: what had to be seen was seen, and an orderly end takes each process seconds."""
        for child in self._children.values():
            child.kill()
        await asyncio.gather(*(child.stop() for child in self._children.values()))


@asynccontextmanager
async def old_cluster(
    folder: Path, old: Path, environ: dict[str, str], *, workers: int, replicas: int
) -> AsyncIterator[MixedCluster]:
    """Run a cluster of the version before, whose code is in `old`: so many workers, services and gateways."""
    data_dir = folder / "data"
    data_dir.mkdir()
    options = ClusterOptions(
        data_dir=data_dir,
        free_ports=True,
        servers=Servers.WHEELS,
        workers=workers,
        replicas=replicas,
        gateways=replicas,
    )
    cluster = MixedCluster(data_dir, make_plan(options, clean_environment(**environ)), old)
    stores, *rest = cluster.plan.layers
    try:
        for server in stores:
            await cluster.start(server)
        code, output = await cluster.old_command("migrate")
        assert code == 0, f"the migrations of the version before ended with {code}:\n{output[-2000:]}"
        for layer in rest:
            await asyncio.gather(*(cluster.start(server, old) for server in layer))
        yield cluster
    finally:
        await cluster.stop_all()
