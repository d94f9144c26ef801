"""Gateway and service run under uvicorn as it comes, by its own command and its own protocols, streams included.

`make test-uvicorn` runs all tests of the service so; here is each kind of call once, through both processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_core.postgres.databases import RegionDatabases
from tests.conftest import admit
from tests.support.events import listening
from tests.support.process import ended, started


@asynccontextmanager
async def uvicorn_serves(factory: str, protocol: str, environ: Mapping[str, str]) -> AsyncIterator[str]:
    """Run `uvicorn --factory`; yield its base URL."""
    (port,) = find_free_ports(1)
    command = ("-m", "uvicorn", "--factory", factory, "--http", protocol, "--port", str(port), "--no-access-log")
    process = await started(sys.executable, *command, env={"PATH": os.environ["PATH"], **environ})
    url = f"http://127.0.0.1:{port}"
    async with ended(process, url, factory):
        yield url


@pytest.mark.parametrize("protocol", ["httptools", "h11"])
async def test_calls_and_streams_through_both(
    protocol: str, environ: dict[str, str], redis_1: redis.Redis, databases: RegionDatabases
) -> None:
    await admit(environ, databases)
    async with (
        uvicorn_serves("leaderboard_service.app:create_app", protocol, environ) as service,
        uvicorn_serves(
            "api_gateway.app:create_app", protocol, {**environ, "LEADERBOARD_SERVICE_URLS": service}
        ) as gateway,
        httpx.AsyncClient(trust_env=False, timeout=15) as client,
    ):
        for number, base in enumerate((service, gateway)):
            player = {"user_id": f"player-{number}", "name": "P", "region": "EU", "initialScore": 5}
            made = await client.post(f"{base}/auth/register", json=player)
            assert made.status_code == 201
            token = {"Authorization": f"Bearer {made.json()['token']}"}
            async with listening(base, f"/stream/rank/player-{number}?region=EU") as listener:
                assert (await listener.next()).data["self"]["score"] == 5
                added = await client.post(f"{base}/score/add", json={"delta": 7}, headers=token)
                assert added.json()["score"] == 12
                assert (await listener.next()).data["self"]["score"] == 12
            assert (await client.get(f"{base}/rank/player-{number}?region=EU")).json()["score"] == 12
            assert (await client.head(f"{base}/top")).status_code == 200
            refused = await client.post(f"{base}/score/add", content=b"x" * 1_100_000, headers=token)
            assert refused.status_code == 413
            assert (await client.get(f"{base}/nothing")).json()["error"] == "not_found"
            assert (await client.delete(f"{base}/users/player-{number}", headers=token)).json()["ok"] is True
