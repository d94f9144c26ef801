"""Bodies are read whole, within the limits of size and time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from leaderboard_core.errors import PayloadTooLarge, RequestTimeout
from leaderboard_core.http.messages import BodyLimits, limit_body, read_body, wait_until_disconnected


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
    assert await read_body(receiver(*parts), (), BodyLimits(4, 1)) == b"abcd"
    with pytest.raises(PayloadTooLarge):
        await read_body(receiver(*parts), (), BodyLimits(3, 1))
    with pytest.raises(PayloadTooLarge):
        await read_body(receiver(part(b"abcd", more=True)), (), BodyLimits(3, 1))


async def test_a_body_that_stops_coming() -> None:
    with pytest.raises(RequestTimeout):
        await read_body(receiver(part(b"ab", more=True)), (), BodyLimits(10, 0.01))
    with pytest.raises(ClientDisconnect):
        await read_body(receiver(part(b"ab", more=True), {"type": "http.disconnect"}), (), BodyLimits(10, 1))


async def trickle() -> dict[str, Any]:
    await asyncio.sleep(0.02)
    return part(b"a", more=True)


async def test_a_body_that_comes_byte_by_byte_has_an_end() -> None:
    async with asyncio.timeout(5):
        with pytest.raises(RequestTimeout):
            await read_body(trickle, (), BodyLimits(10_000, 0.1))
        receive = limit_body(trickle, (), BodyLimits(10_000, 0.1))
        with pytest.raises(RequestTimeout):
            await wait_until_disconnected(receive)


@pytest.mark.parametrize("complete", [True, False])
async def test_who_reads_by_messages_is_held_to_the_same_time_until_the_body_is_whole(complete: bool) -> None:
    receive = limit_body(receiver(part(b"ab", more=not complete)), (), BodyLimits(10, 0.01))
    assert (await receive())["body"] == b"ab"
    end = asyncio.ensure_future(receive())
    if not complete:
        with pytest.raises(RequestTimeout):
            await end
        return
    done, _ = await asyncio.wait([end], timeout=0.05)
    assert not done, "it waits until the client leaves"
    end.cancel()
