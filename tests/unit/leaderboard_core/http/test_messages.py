"""Bodies are read whole, within the limits of size and time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from leaderboard_core.errors import PayloadTooLarge, RequestTimeout
from leaderboard_core.http.messages import read_body


def receiver(*messages: dict[str, Any]) -> Any:
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_read_whole_up_to_the_limit() -> None:
    parts = [part(b"ab", more=True), part(b"", more=True), part(b"cd", more=False)]
    assert await read_body(receiver(*parts), (), max_bytes=4, timeout=1) == b"abcd"
    with pytest.raises(PayloadTooLarge):
        await read_body(receiver(*parts), (), max_bytes=3, timeout=1)
    with pytest.raises(PayloadTooLarge):
        await read_body(receiver(part(b"abcd", more=True)), (), max_bytes=3, timeout=1)


async def test_a_body_that_stops_coming() -> None:
    with pytest.raises(RequestTimeout):
        await read_body(receiver(part(b"ab", more=True)), (), max_bytes=10, timeout=0.01)
    with pytest.raises(ClientDisconnect):
        await read_body(receiver(part(b"ab", more=True), {"type": "http.disconnect"}), (), max_bytes=10, timeout=1)
