"""Live boards through the whole chain: NGINX, a gateway, a service."""

from __future__ import annotations

import asyncio
import time

import httpx

from tests.acceptance.conftest import Register
from tests.support.events import listening


async def test_an_event_arrives_unbuffered_through_every_hop(url: str, register: Register) -> None:
    player = register("EU", 1)
    async with listening(url, f"/stream/rank/{player.user_id}?region=EU&range=0") as listener:
        assert listener.headers["content-type"].startswith("text/event-stream")
        assert {"x-upstream-addr", "x-service-addr", "x-request-id"} <= set(listener.headers)
        first = await listener.next()
        assert (first.name, first.data["self"]["score"]) == ("snapshot", 1)
        for score in (2, 3, 4):
            started = time.monotonic()
            answer = await asyncio.to_thread(player.http.post, "/score/update", json={"score": score})
            assert answer.status_code == 200
            event = await listener.next()
            assert (event.name, event.data["self"]["score"]) == ("change", score)
            # A tick is 250 ms; what a hop kept back would come with the next event only.
            assert time.monotonic() - started < 2


async def test_the_top_is_what_a_read_gives(url: str, http: httpx.Client, register: Register) -> None:
    register("NA", 7)
    async with listening(url, "/stream/top?region=na&limit=100") as listener:
        event = await listener.next()
        assert event.name == "snapshot"
        page = (await asyncio.to_thread(http.get, "/top", params={"region": "NA", "limit": 100})).json()
        rows = [{key: row[key] for key in row if key != "position"} for row in event.data["rows"]]
        assert rows == page["rows"]
        assert [row["position"] for row in event.data["rows"]] == list(range(1, len(rows) + 1))
