"""The headers of a service's answer: hop-by-hop headers dropped, the framing of the body read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from leaderboard_core.http.messages import Header, Headers

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one connection: they cross no proxy, in either direction."""

_RESPONSE_OURS: Final = HOP_BY_HOP | {b"date", b"server", b"x-request-id", b"x-upstream-addr"}
_PLAIN_CONNECTION: Final = frozenset({b"", b"keep-alive", b"close"})


@dataclass(slots=True)
class ResponseHead:
    """A service's head; `headers` are those that cross the gateway, `transfer_encoding` is in lower case."""

    headers: Headers
    content_length: int | None
    transfer_encoding: bytes | None


def read_response_head(raw: Iterable[Header]) -> ResponseHead:
    """Sort a service's headers (names in lower case) in one pass."""
    headers: Headers = []
    content_length: int | None = None
    transfer_encoding: bytes | None = None
    named: set[bytes] = set()
    for header in raw:
        name, value = header
        if name == b"content-length":
            content_length = int(value)
            headers.append(header)
        elif name not in _RESPONSE_OURS:
            headers.append(header)
        elif name == b"connection":
            named |= connection_options(value)
        elif name == b"transfer-encoding":
            coding = value.strip().lower()
            transfer_encoding = coding if transfer_encoding is None else transfer_encoding + b"," + coding
    if named:
        # A length must stay what it is: it was the parser's measure of the body.
        named.discard(b"content-length")
        headers = [header for header in headers if header[0] not in named]
    return ResponseHead(headers, content_length, transfer_encoding)


def connection_options(value: bytes) -> set[bytes]:
    """Return the header names that a Connection header declares as hop-by-hop, in lower case."""
    value = value.strip().lower()
    if value in _PLAIN_CONNECTION:
        return set()
    return {part.strip() for part in value.split(b",")} - _PLAIN_CONNECTION
