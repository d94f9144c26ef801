"""Sends an answer that goes on: piece by piece, until it ends, the client leaves, or the client takes nothing."""

from __future__ import annotations

import asyncio
from typing import Final

from leaderboard_core.http.protocol import NOTHING_YET, TRANSPORT
from leaderboard_core.http.server import buffer_little
from leaderboard_service.asgi import Receive, Scope, Send, Stream

_FAREWELL_SECONDS: Final = 1.0


async def send_stream(stream: Stream, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
    """Send head and pieces. A client that takes nothing for the stream's patience is cut off."""
    headers = [*stream.headers, (b"connection", b"close"), (b"x-request-id", request_id.encode())]
    gone = asyncio.ensure_future(_until_gone(receive))
    gone.add_done_callback(lambda _: stream.pieces.close())
    try:
        await send({"type": "http.response.start", "status": stream.status, "headers": headers})
        if scope["method"] != "HEAD":
            await send(NOTHING_YET)
            buffer_little(scope[TRANSPORT])
            while piece := await stream.pieces.next():
                async with asyncio.timeout(stream.patience_seconds):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        async with asyncio.timeout(_FAREWELL_SECONDS):
            await send({"type": "http.response.body", "body": b""})
    except TimeoutError:
        stream.pieces.dropped()
        # An orderly close would wait for the client to read what is buffered.
        scope[TRANSPORT].abort()
        await gone
    finally:
        gone.cancel()
        stream.pieces.close()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
