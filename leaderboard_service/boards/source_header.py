"""Names the store that an answer was read from, in its header and in the OpenAPI document."""

from __future__ import annotations

from typing import Final, Literal, get_args

from leaderboard_core.http.messages import Header
from leaderboard_core.http.responses import JSONReply
from leaderboard_service.openapi import Responses

Source = Literal["redis", "postgres"]

_HEADER: Final = "X-Leaderboard-Source"
_HEADERS: Final[dict[Source, tuple[Header, ...]]] = {
    source: ((_HEADER.lower().encode(), source.encode()),) for source in get_args(Source)
}
ANSWERED: Final[Responses] = {
    200: {
        "headers": {
            _HEADER: {
                "description": "`redis`, or `postgres` while Redis is away or being rebuilt.",
                "schema": {"type": "string", "enum": list(get_args(Source))},
            }
        }
    }
}
"""The header as the OpenAPI document describes it."""


def reply_from(source: Source, content: object, *headers: Header) -> JSONReply:
    """Build an answer whose header names the store that was read; `headers` come in addition."""
    return JSONReply(content, headers=(*_HEADERS[source], *headers))
