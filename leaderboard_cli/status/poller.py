"""Poll the system once: /status at the public address, /health and /metrics of each process."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from leaderboard_cli.status.samples import Samples
from leaderboard_cli.status.sources import Sources

TIMEOUT_SECONDS = 4.0
_STATUS = {"ok", "reads", "queues", "workers", "redis", "postgres"}


@dataclass(slots=True)
class Snapshot:
    """The body of /status, each gateway's /health, each process's metrics, and what did not answer.

    `redis` is what a service says of each shard: the server that has it, and its replicas.
    """

    status: dict[str, Any] | None = None
    health: dict[str, dict[str, Any]] = field(default_factory=dict)
    redis: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Samples] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        return self.status is not None or bool(self.health) or bool(self.metrics)


async def poll(client: httpx.AsyncClient, sources: Sources) -> Snapshot:
    """Ask all of them concurrently; `problems` lists those that do not answer."""
    found = Snapshot()

    async def ask_status(url: str) -> None:
        answer = await _get(client, f"{url}/status", found)
        if answer is not None and answer.status_code != 200:
            found.problems.append(f"{url}/status answers {answer.status_code}: {_message(answer)}")
        elif answer is not None:
            body = _json(answer)
            if body is None or not body.keys() >= _STATUS:
                found.problems.append(f"{url}/status is not that of a leaderboard")
            else:
                found.status = body

    async def ask_health(name: str, url: str) -> None:
        answer = await _get(client, f"{url}/health", found)
        if answer is None or (body := _json(answer)) is None:
            return
        if "upstreams" in body:
            found.health[name] = body
        found.redis = body.get("redis") or found.redis

    async def ask_metrics(name: str, url: str) -> None:
        answer = await _get(client, f"{url}/metrics", found)
        if answer is not None and answer.status_code == 200:
            found.metrics[name] = Samples.parse(answer.text, time.monotonic())

    async with asyncio.TaskGroup() as group:
        group.create_task(ask_status(sources.url))
        for name, url in {**sources.gateways, **sources.services}.items():
            group.create_task(ask_health(name, url))
        for name, url in sources.processes.items():
            group.create_task(ask_metrics(name, url))
    # The public address may lead to a service that hangs; any other service knows as much.
    for name in sorted(found.metrics):
        if found.status is None and name in sources.services:
            await ask_status(sources.processes[name])
    found.problems.sort()
    return found


async def _get(client: httpx.AsyncClient, url: str, found: Snapshot) -> httpx.Response | None:
    try:
        return await client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        found.problems.append(f"{url}: {str(error) or type(error).__name__}")
        return None


def _json(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _message(answer: httpx.Response) -> str:
    return str((_json(answer) or {}).get("message", answer.reason_phrase))
