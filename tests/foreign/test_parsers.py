"""Parsers of Server-Sent Events that others wrote give their users the events of a stream and nothing else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from tests.conftest import Start
from tests.support.events import connect
from tests.support.service import Api
from tests.support.waiting import PROCESS_SECONDS

PATH = "/stream/top?region=EU&limit=1"
EVENT_SOURCE = Path(__file__).with_name("event_source.mjs")


@pytest.fixture
async def api(start: Start) -> Api:
    """A service that sends heartbeats often, with one player."""
    api = await start(STREAM_HEARTBEAT_SECONDS=0.05)
    await api.register("a", "EU", 1)
    return api


async def score_two_after_heartbeats(api: Api) -> None:
    """Write when a listener was sent heartbeats; those who have connected before were sent them too."""
    listener = await connect(str(api.http.base_url), PATH)
    try:
        await listener.next()
        await listener.silent(0.3)
        assert len(listener.comments) > 1
    finally:
        await listener.close()
    token = api.player_token("a", "EU")
    assert (await api.post("/score/update", {"score": 2}, token=token)).status_code == 200


async def test_httpx_sse_sees_no_event_without_data(api: Api) -> None:
    seen: list[ServerSentEvent] = []
    connected = asyncio.Event()

    async def follow() -> None:
        async with (
            httpx.AsyncClient(base_url=api.http.base_url, timeout=10) as client,
            aconnect_sse(client, "GET", PATH) as source,
        ):
            async for event in source.aiter_sse():
                seen.append(event)
                connected.set()
                if '"score":2' in event.data:
                    return

    following = asyncio.create_task(follow())
    await connected.wait()
    await score_two_after_heartbeats(api)
    await following
    assert [event.event for event in seen] == ["snapshot", "change"]
    assert seen[0].retry == 1000
    assert all(event.json()["rows"] and event.id for event in seen)


@pytest.mark.parametrize("library", ["eventsource", "@microsoft/fetch-event-source"])
async def test_a_package_of_npm_sees_no_event_without_data(api: Api, node_tools: Path, library: str) -> None:
    url = f"{str(api.http.base_url).rstrip('/')}{PATH}"
    words = ("node", str(EVENT_SOURCE), library, url)
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        first = await asyncio.wait_for(process.stdout.readline(), PROCESS_SECONDS)
        await score_two_after_heartbeats(api)
        rest, _ = await asyncio.wait_for(process.communicate(), PROCESS_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    seen = [json.loads(line) for line in (first + rest).splitlines()]
    assert [event["name"] for event in seen] == ["snapshot", "change"]
    assert all(json.loads(event["data"])["rows"] and event["id"] for event in seen)
