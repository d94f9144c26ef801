"""The processes under test, and the same applications under uvicorn's own protocols."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
import jwt

from leaderboard_cli.cluster.ports import find_free_ports
from tests.support.process import ended, running, started
from tests.support.service import SECRET

_NAMES = ("ours", "h11", "httptools")


@dataclass
class Server:
    """A process, and the player that its streams write for; all names and tokens have one length."""

    port: int
    player: str
    token: str

    async def score(self) -> int:
        async with httpx.AsyncClient(trust_env=False, timeout=15) as client:
            answer = await client.get(f"http://127.0.0.1:{self.port}/rank/{self.player}")
            score: int = answer.json()["score"]
            return score


@dataclass
class Trio:
    """One application under our protocol and the two of uvicorn."""

    name: str
    ours: Server
    h11: Server
    httptools: Server

    @property
    def all(self) -> tuple[Server, ...]:
        return self.ours, self.h11, self.httptools


@asynccontextmanager
async def trios(environ: Mapping[str, str]) -> AsyncIterator[tuple[Trio, Trio]]:
    """Run a service and a gateway in front of it, three times each."""
    async with AsyncExitStack() as stack:
        services = await _three(stack, "leaderboard_service", environ)
        behind = {**environ, "LEADERBOARD_SERVICE_URLS": f"http://127.0.0.1:{services[0]}"}
        gateways = await _three(stack, "api_gateway", behind)
        yield await _trio("service", services), await _trio("gateway", gateways)


async def _three(stack: AsyncExitStack, package: str, environ: Mapping[str, str]) -> list[int]:
    ours = await stack.enter_async_context(running(package, environ))
    ports = [int(ours.url.rpartition(":")[2])]
    for protocol in _NAMES[1:]:
        (port,) = find_free_ports(1)
        command = ("-m", "uvicorn", "--factory", f"{package}.app:create_app", "--http", protocol, "--ws", "none")
        quiet = ("--port", str(port), "--no-access-log", "--log-level", "critical")
        process = await started(sys.executable, *command, *quiet, env={"PATH": os.environ["PATH"], **environ})
        await stack.enter_async_context(ended(process, f"http://127.0.0.1:{port}", f"{package} under {protocol}"))
        ports.append(port)
    return ports


async def _trio(name: str, ports: list[int]) -> Trio:
    servers, now = [], int(time.time()) + 1
    async with httpx.AsyncClient(trust_env=False, timeout=15) as client:
        for kind, port in zip(_NAMES, ports, strict=True):
            player = f"{name}-{kind}".ljust(20, "-")
            body = {"user_id": player, "name": player, "region": "EU"}
            answer = await client.post(f"http://127.0.0.1:{port}/auth/register", json=body)
            answer.raise_for_status()
            claims = {"user_id": player, "name": player, "region": "EU", "iat": now, "exp": now + 86_400}
            servers.append(Server(port, player, jwt.encode(claims, SECRET, algorithm="HS256")))
    assert len({len(server.token) for server in servers}) == 1, "tokens of one length"
    return Trio(name, *servers)
