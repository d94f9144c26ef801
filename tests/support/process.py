"""Run one of our programs as a process on a free port, and read its resources from the kernel."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from leaderboard_cli.cluster.ports import find_free_ports
from tests.support.waiting import eventually


@dataclass
class Running:
    """The process and its address."""

    process: asyncio.subprocess.Process
    url: str

    @property
    def files(self) -> int:
        """Count its open files and sockets."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def memory(self) -> int:
        """Return its memory in bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    async def metric(self, line: str) -> float:
        """Sum the metrics whose lines begin so."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            page = (await client.get("/metrics")).text
        return sum(float(found.split(" ")[-1]) for found in page.splitlines() if found.startswith(line))


@asynccontextmanager
async def running(
    package: str, environ: Mapping[str, str], *, soft_files: int = 0, hard_files: int = 0
) -> AsyncIterator[Running]:
    """Run `python -m package` until it is ready; kill it at the end if it still runs.

    `soft_files` and `hard_files` are the limits of open files that it starts with; 0 leaves ours.
    """
    (port,) = find_free_ports(1)

    def limit_files() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft_files or soft, hard_files or hard))

    process = await started(
        sys.executable,
        *("-m", package),
        env={"PATH": os.environ["PATH"], **environ, "PORT": str(port)},
        preexec_fn=limit_files,
    )
    url = f"http://127.0.0.1:{port}"
    async with ended(process, url, package):
        yield Running(process, url)


async def started(*command: str, **options: Any) -> asyncio.subprocess.Process:
    """Start a process that says nothing to us."""
    none = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(*command, stdin=none, stdout=none, stderr=none, **options)


@asynccontextmanager
async def ended(process: asyncio.subprocess.Process, url: str, name: str) -> AsyncIterator[None]:
    """Wait until a process is ready at its /health; kill it at the end if it still runs."""
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:

            async def serves() -> bool:
                assert process.returncode is None, f"{name} ended with {process.returncode}"
                try:
                    return (await client.get("/health")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(serves, f"the start of {name}", seconds=20)
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
