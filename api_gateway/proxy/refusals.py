"""Refuse in the envelope what is not passed on, or no longer."""

from __future__ import annotations

from starlette.types import Receive, Send

from leaderboard_core.errors import LeaderboardError, PayloadTooLarge, RequestTimeout
from leaderboard_core.http.context import RequestContext
from leaderboard_core.http.messages import Header, drain_body
from leaderboard_core.http.responses import error_reply


async def refuse_unread(
    error: PayloadTooLarge | RequestTimeout, receive: Receive, send: Send, context: RequestContext
) -> None:
    """Refuse a request whose body was not read to its end; the connection ends after the answer."""
    if isinstance(error, RequestTimeout):
        await refuse(error, send, context)
        return
    await refuse(error, send, context, (b"connection", b"close"), more_body=True)
    await drain_body(receive)
    await send({"type": "http.response.body", "body": b""})


async def refuse(
    error: LeaderboardError, send: Send, context: RequestContext, *headers: Header, more_body: bool = False
) -> None:
    """Answer with an error's envelope."""
    reply = error_reply(error)
    context.note(note=error.code)
    context.status = reply.status_code
    context.response_started = True
    sent = [*reply.raw_headers, (b"x-request-id", context.request_id.encode("ascii")), *headers]
    await send({"type": "http.response.start", "status": reply.status_code, "headers": sent})
    await send({"type": "http.response.body", "body": reply.body, "more_body": more_body})
