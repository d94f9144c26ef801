"""What crosses the gateway: hop-by-hop headers dropped, forwarding headers and the request id added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from leaderboard_core.http.messages import Header, Headers

_HOP_BY_HOP: Final = frozenset(
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
# The gateway's own server answers 100-continue and counts the body, so neither may be passed on.
_REQUEST_OURS: Final = _HOP_BY_HOP | {
    b"content-length",
    b"expect",
    b"http2-settings",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-request-id",
}
_RESPONSE_OURS: Final = _HOP_BY_HOP | {b"date", b"server", b"x-request-id", b"x-upstream-addr"}
_PLAIN_CONNECTION: Final = frozenset({b"", b"keep-alive", b"close"})
_PROTOCOLS: Final = frozenset({b"http", b"https"})


@dataclass(slots=True)
class RequestHead:
    """A request's head as the gateway needs it; `forward` is what the service gets to see."""

    forward: Headers
    authorization: str | None
    content_length: int | None
    has_body: bool
    has_idempotency_key: bool


@dataclass(slots=True)
class ResponseHead:
    """A service's head; `headers` are those that cross the gateway, `transfer_encoding` is in lower case."""

    headers: Headers
    content_length: int | None
    transfer_encoding: bytes | None


def read_request_head(raw: Iterable[Header], client: str | None, scheme: str, request_id: str) -> RequestHead:
    """Sort a request's headers (names in lower case, as ASGI gives them) in one pass.

    `client` is the address of whoever is connected, None if unknown. Host is kept as the client wrote it.
    """
    forward: Headers = []
    authorization: str | None = None
    content_length: int | None = None
    chunked = has_key = False
    named: set[bytes] = set()
    forwarded_for: list[bytes] = []
    proto = b""
    for header in raw:
        name, value = header
        if name not in _REQUEST_OURS:
            forward.append(header)
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"idempotency-key":
                has_key = bool(value.strip())
        elif name == b"content-length":
            content_length = int(value)
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"connection":
            named |= _named_by(value)
        elif name == b"x-forwarded-for":
            forwarded_for.append(value)
        elif name == b"x-forwarded-proto":
            proto = value
    if named:
        forward = [header for header in forward if header[0] not in named]
        has_key = has_key and b"idempotency-key" not in named
    if client:
        forwarded_for.append(client.encode("ascii"))
    if forwarded_for:
        forward.append((b"x-forwarded-for", b", ".join(forwarded_for)))
    forward.append((b"x-forwarded-proto", proto if proto in _PROTOCOLS else scheme.encode("ascii")))
    forward.append((b"x-request-id", request_id.encode("ascii")))
    return RequestHead(forward, authorization, content_length, chunked or bool(content_length), has_key)


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
            named |= _named_by(value)
        elif name == b"transfer-encoding":
            coding = value.strip().lower()
            transfer_encoding = coding if transfer_encoding is None else transfer_encoding + b"," + coding
    if named:
        # A length must stay what it is: it was the parser's measure of the body.
        named.discard(b"content-length")
        headers = [header for header in headers if header[0] not in named]
    return ResponseHead(headers, content_length, transfer_encoding)


def value_of(headers: Headers, wanted: bytes) -> bytes:
    """The first value of a header, empty if there is none."""
    return next((value for name, value in headers if name == wanted), b"")


def _named_by(connection: bytes) -> set[bytes]:
    value = connection.strip().lower()
    if value in _PLAIN_CONNECTION:
        return set()
    return {part.strip() for part in value.split(b",")} - _PLAIN_CONNECTION
