"""What crosses the gateway: hop-by-hop headers dropped, forwarding headers and the request id added."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from api_gateway.asgi import Headers

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
_SANE_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")


@dataclass(slots=True)
class RequestHead:
    """A request's head as the gateway needs it; `forward` is what the service gets to see."""

    forward: list[tuple[str, str]]
    request_id: str
    authorization: str | None
    content_length: int | None
    has_body: bool
    has_idempotency_key: bool


def read_request_head(raw: Iterable[tuple[bytes, bytes]], client: str | None, scheme: str) -> RequestHead:
    """Sort a request's headers (names in lower case, as ASGI gives them) in one pass.

    `client` is the address of whoever is connected, None if unknown. Host is kept as the client wrote it.
    """
    forward: list[tuple[str, str]] = []
    request_id = ""
    authorization: str | None = None
    content_length: int | None = None
    chunked = has_key = False
    named: set[bytes] = set()
    forwarded_for: list[str] = []
    proto = ""
    for name, value in raw:
        if name not in _REQUEST_OURS:
            forward.append((_text(name), _text(value)))
            if name == b"authorization":
                authorization = _text(value)
            elif name == b"idempotency-key":
                has_key = bool(value.strip())
        elif name == b"content-length":
            content_length = int(value)
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"connection":
            named |= _named_by(value)
        elif name == b"x-request-id":
            if not request_id and _SANE_ID.fullmatch(value):
                request_id = value.decode("ascii")
        elif name == b"x-forwarded-for":
            forwarded_for.append(_text(value))
        elif name == b"x-forwarded-proto":
            proto = _text(value)
    if named:
        dropped = {_text(name) for name in named}
        forward = [(name, value) for name, value in forward if name not in dropped]
        has_key = has_key and b"idempotency-key" not in named
    if client:
        forwarded_for.append(client)
    if forwarded_for:
        forward.append(("x-forwarded-for", ", ".join(forwarded_for)))
    forward.append(("x-forwarded-proto", proto if proto in ("http", "https") else scheme))
    request_id = request_id or secrets.token_hex(16)
    forward.append(("x-request-id", request_id))
    return RequestHead(forward, request_id, authorization, content_length, chunked or bool(content_length), has_key)


def response_headers(
    raw: Iterable[tuple[bytes, bytes]], *, request_id: str, upstream_address: str, drop_length: bool = False
) -> Headers:
    """A service's headers as the client gets them.

    `drop_length` is for answers that never have a body (204, 304): a length would announce one.
    """
    headers: Headers = []
    named: set[bytes] = set()
    for original, value in raw:
        name = original.lower()
        if name not in _RESPONSE_OURS:
            headers.append((name, value))
        elif name == b"connection":
            named |= _named_by(value)
    if named or drop_length:
        dropped = named | {b"content-length"} if drop_length else named
        headers = [item for item in headers if item[0] not in dropped]
    headers.append((b"x-request-id", request_id.encode("ascii")))
    headers.append((b"x-upstream-addr", upstream_address.encode("ascii")))
    return headers


def _named_by(connection: bytes) -> set[bytes]:
    value = connection.strip().lower()
    if value in _PLAIN_CONNECTION:
        return set()
    return {part.strip() for part in value.split(b",")} - _PLAIN_CONNECTION


def _text(value: bytes) -> str:
    # The client library writes UTF-8, so valid UTF-8 crosses byte for byte; the rest can only be ISO-8859-1.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
