"""The headers of a request: hop-by-hop headers dropped, forwarding headers made true, and the request id added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from api_gateway.upstream.headers import HOP_BY_HOP, connection_options
from leaderboard_core.http.messages import Header, Headers

# The gateway's own server answers 100-continue and counts the body, so neither may be passed on.
_REQUEST_OURS: Final = HOP_BY_HOP | {
    b"content-length",
    b"expect",
    b"http2-settings",
    b"x-request-id",
}
_FORWARDING: Final = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
"""What only a proxy can say; of anybody else's it is dropped."""
_NOT_PASSED: Final = _REQUEST_OURS | _FORWARDING
_PROTOCOLS: Final = frozenset({b"http", b"https"})


@dataclass(slots=True)
class RequestHead:
    """A request's head as the gateway needs it; `forward` is what the service gets to see."""

    forward: Headers
    authorization: str | None
    content_length: int | None
    has_body: bool
    has_idempotency_key: bool
    forwarded_for: bytes
    origin: str | None


def read_request_head(raw: Iterable[Header], peer: str, scheme: str, request_id: str, *, trusted: bool) -> RequestHead:
    """Sort a request's headers (names in lower case, as ASGI gives them) in one pass.

    `forwarded_for` of the result is what `peer` says of its own client, empty when it is not trusted.
    `peer` is the address of whoever is connected, '' of a Unix socket; `trusted` says that it is a proxy whose word on
    its own client is passed on. Host is kept as the client wrote it.
    """
    forward: Headers = []
    authorization: str | None = None
    origin: str | None = None
    content_length: int | None = None
    chunked = has_key = False
    named: set[bytes] = set()
    forwarded_for: list[bytes] = []
    proto = b""
    for header in raw:
        name, value = header
        if name not in _NOT_PASSED:
            forward.append(header)
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"origin":
                origin = value.decode("latin-1")
            elif name == b"idempotency-key":
                has_key = bool(value.strip())
        elif name == b"content-length":
            content_length = int(value)
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"connection":
            named |= connection_options(value)
        elif trusted and name in _FORWARDING:
            if name == b"x-forwarded-for":
                forwarded_for.append(value)
            elif name == b"x-forwarded-proto":
                proto = value
            else:
                forward.append(header)
    if named:
        forward = [header for header in forward if header[0] not in named]
        has_key = has_key and b"idempotency-key" not in named
    told = b", ".join(forwarded_for)
    if peer:
        forwarded_for.append(peer.encode("ascii"))
    if forwarded_for:
        forward.append((b"x-forwarded-for", b", ".join(forwarded_for)))
    forward.append((b"x-forwarded-proto", proto if proto in _PROTOCOLS else scheme.encode("ascii")))
    forward.append((b"x-request-id", request_id.encode("ascii")))
    return RequestHead(forward, authorization, content_length, chunked or bool(content_length), has_key, told, origin)
