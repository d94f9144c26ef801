"""The leaderboard service on a real port, built as production builds it, and a small client for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import uvicorn

from leaderboard_core.http.application import Application
from leaderboard_core.http.protocol import EnvelopeProtocol
from leaderboard_core.settings import (
    AuthSettings,
    LimitSettings,
    ProcessSettings,
    StreamSettings,
    TopologySettings,
    load,
)
from leaderboard_core.tokens import Tokens
from leaderboard_service.app import create_app
from leaderboard_service.services import Services, Settings

PROTOCOL: Any = os.environ.get("TEST_HTTP") or EnvelopeProtocol
"""The protocol under the service: TEST_HTTP=httptools or h11 takes uvicorn's own, as `make test-uvicorn` does."""
SECRET = "c0ffee5eed7a11ad0b57ac1e9f3d2468ab"  # known to tests only
REGIONS = ("ASIA", "EU", "NA", "GLOBAL")


def settings_of(environ: Mapping[str, str]) -> Settings:
    """Load the service's settings from an environment."""
    return Settings(
        load(ProcessSettings, environ),
        load(TopologySettings, environ),
        load(AuthSettings, environ),
        load(LimitSettings, environ),
        load(StreamSettings, environ),
    )


@dataclass
class Api:
    """Calls a running service; methods return the raw response."""

    app: Application
    http: httpx.AsyncClient
    settings: Settings

    @property
    def services(self) -> Services:
        return self.app.state.services  # type: ignore[no-any-return]

    @property
    def tokens(self) -> Tokens:
        return self.services.tokens

    def player_token(self, user_id: str, region: str = "ASIA", name: str | None = None, **claims: Any) -> str:
        return self.tokens.issue(user_id, user_id if name is None else name, region, **{"method": "secret", **claims})

    def server_token(self, user_id: str = "game-server") -> str:
        return self.tokens.issue(user_id, user_id, "GLOBAL", role="server")

    def admin_token(self, user_id: str = "ops") -> str:
        return self.tokens.issue(user_id, user_id, "GLOBAL", role="admin")

    async def define(self, definition: object, board: str = "main", token: str | None = None) -> httpx.Response:
        """State a board's rules, with an administrator's token unless another one is given."""
        headers = {"Authorization": f"Bearer {token or self.admin_token()}"}
        return await self.http.put(f"/boards/{board}", json=definition, headers=headers)

    async def post(
        self, path: str, body: object, *, token: str | None = None, key: str | None = None, **headers: str
    ) -> httpx.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.http.post(path, json=body, headers=headers)

    async def post_raw(self, path: str, content: bytes | str, *, token: str | None = None) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return await self.http.post(path, content=content, headers=headers)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        # httpx takes empty params for "no query", also where the path has one.
        return await self.http.get(path, params=params or None)

    async def delete(self, user_id: str, token: str | None = None, *, key: str | None = None) -> httpx.Response:
        """Delete a player, with a server's token unless another one is given."""
        headers = {"Authorization": f"Bearer {token or self.server_token()}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.http.delete(f"/users/{quote(user_id, safe='')}", headers=headers)

    async def export(self, user_id: str, token: str | None = None) -> httpx.Response:
        """Export a player, with a server's token unless another one is given."""
        headers = {"Authorization": f"Bearer {token or self.server_token()}"}
        return await self.http.get(f"/users/{quote(user_id, safe='')}", headers=headers)

    async def try_register(
        self,
        user_id: str,
        region: str = "ASIA",
        score: int = 0,
        *,
        name: str | None = None,
        password: str | None = None,
    ) -> httpx.Response:
        body: dict[str, Any] = {
            "user_id": user_id,
            "name": user_id if name is None else name,
            "region": region,
            "initialScore": score,
        }
        if password is not None:
            body["password"] = password
        return await self.post("/auth/register", body)

    async def register(
        self,
        user_id: str,
        region: str = "ASIA",
        score: int = 0,
        *,
        name: str | None = None,
        password: str | None = None,
    ) -> str:
        """Make a player, and return its token."""
        response = await self.try_register(user_id, region, score, name=name, password=password)
        assert response.status_code == 201, response.text
        token = response.json()["token"]
        assert isinstance(token, str)
        return token

    async def login(
        self, user_id: str, *, name: str | None = None, region: str | None = None, password: str | None = None
    ) -> httpx.Response:
        body = {"user_id": user_id, "name": user_id if name is None else name}
        if region is not None:
            body["region"] = region
        if password is not None:
            body["password"] = password
        return await self.post("/auth/login", body)

    async def top(self, region: str = "GLOBAL", limit: int = 1000, offset: int = 0) -> dict[str, Any]:
        response = await self.get("/top", region=region, limit=limit, offset=offset)
        assert response.status_code == 200, response.text
        page: dict[str, Any] = response.json()
        return page

    async def scores(self, region: str = "GLOBAL") -> dict[str, int]:
        """Read the first thousand scores of a board by user_id."""
        return {row["user_id"]: row["score"] for row in (await self.top(region))["rows"]}


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers and its main loop."""

    async def open(self, listener: socket.socket) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[listener])
        assert self.started, "the application did not start"

    async def close(self, listener: socket.socket) -> None:
        # As shutdown() does, but for its pause of 100 ms: clients have hung up by now.
        for server in self.servers:
            server.close()
        deadline = asyncio.get_running_loop().time() + 1
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.001)
        if self.server_state.connections:
            await self.shutdown(sockets=[listener])
        else:
            await self.lifespan.shutdown()


@asynccontextmanager
async def serving(app: Application) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback, in this event loop; yield the base URL."""
    config = uvicorn.Config(
        app,
        loop="none",
        http=PROTOCOL,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    # asyncio turns Nagle's algorithm off only for sockets that name their protocol.
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)) as listener:
        listener.bind(("127.0.0.1", 0))
        await server.open(listener)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            await server.close(listener)


def transport_to(app: Application) -> httpx.AsyncBaseTransport:
    """In this process, or over sockets where uvicorn's own protocols are tried (TEST_HTTP)."""
    if os.environ.get("TEST_HTTP"):
        return httpx.AsyncHTTPTransport(verify=False, limits=httpx.Limits())
    return httpx.ASGITransport(app=app)


@asynccontextmanager
async def running_service(environ: Mapping[str, str]) -> AsyncIterator[Api]:
    """Run the service with these environment variables; yield a client of it."""
    settings = settings_of(environ)
    idle = _idle_apps.setdefault(tuple(sorted(environ.items())), [])
    app = idle.pop() if idle else create_app(settings)
    app.check_responses = True
    app.dependency_overrides.clear()
    async with (
        serving(app) as url,
        httpx.AsyncClient(base_url=url, timeout=15, transport=transport_to(app)) as client,
    ):
        yield Api(app, client, settings)
    idle.append(app)


_idle_apps: dict[tuple[tuple[str, str], ...], list[Application]] = {}
"""Building the routes takes longer than most tests; the lifespan, and with it every store, is new each time."""


async def gather(calls: list[Any], most: int = 32) -> list[Any]:
    """Return the results of coroutines, run `most` at a time."""
    semaphore = asyncio.Semaphore(most)

    async def one(call: Any) -> Any:
        async with semaphore:
            return await call

    return await asyncio.gather(*(one(call) for call in calls))
