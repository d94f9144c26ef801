"""What the head of a request may be, and what is answered in the envelope to one that is none."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

import orjson

from leaderboard_core.http.phrases import phrase_of

MAX_HEAD_BYTES: Final = 65_536
"""Of a request's line and headers; trailers and what frames the pieces of a body count too."""
MAX_HEADERS: Final = 100
MAX_URL_BYTES: Final = MAX_HEAD_BYTES // 2
"""Of a head that is too large: a longer URL is what is said to be too long."""

_OTHER_VERSION: Final = "This version of HTTP is not spoken here; use HTTP/1.1."


class Refusal(Exception):
    """What is answered to bytes that are no request; the connection ends with it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)

    def encode(self, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """The whole answer, with these headers besides its own."""
        body = orjson.dumps({"error": self.code, "message": self.message})
        head = (
            f"HTTP/1.1 {self.status} {phrase_of(self.status)}\r\n"
            "content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            f"x-request-id: {secrets.token_hex(16)}\r\n"
            "connection: close\r\n"
        )
        lines = (b"%b: %b\r\n" % header for header in headers)
        return b"".join((head.encode("ascii"), *lines, b"\r\n", body))


def malformed(message: str = "This is not a well-formed HTTP request.") -> Refusal:
    """The refusal of what is not HTTP/1.1 or HTTP/1.0."""
    return Refusal(400, "bad_request", message)


def unreadable(data: bytes) -> Refusal:
    """The refusal of bytes that the parser gave up; HTTP/2 begins with a request of its own (RFC 9113, 3.4)."""
    return malformed(_OTHER_VERSION) if data.startswith(b"PRI * HTTP/2.0\r\n") else malformed()


def head_too_large(url: bytes) -> Refusal:
    """The refusal of a head with too many bytes or headers."""
    if len(url) > MAX_URL_BYTES:
        return Refusal(414, "uri_too_long", "The URL is too long; send less in its query.")
    limits = f"at most {MAX_HEADERS} headers and {MAX_HEAD_BYTES // 1024} KiB"
    return Refusal(431, "headers_too_large", f"The head of a request may have {limits}.")


def unknown_encoding() -> Refusal:
    """The refusal of a body in a coding that is not known here."""
    return Refusal(501, "not_implemented", "The only Transfer-Encoding known here is chunked.")


def head_too_late() -> Refusal:
    """The refusal of a head that does not come to its end."""
    return Refusal(408, "request_timeout", "The request did not arrive in time; send it again.")


def check_size(url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Raise the Refusal of a head that is too large."""
    if (
        len(headers) > MAX_HEADERS
        or len(url) + sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD_BYTES
    ):
        raise head_too_large(url)


def check_framing(version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Raise the Refusal of a head of which two readers may think differently."""
    if version not in ("1.1", "1.0"):
        raise malformed(_OTHER_VERSION)
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise malformed("A request has one Host header.")
    if sum(name == b"authorization" for name, _ in headers) > 1:
        raise malformed("A request has one Authorization header.")
    encodings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if encodings and version == "1.0":
        raise malformed("HTTP/1.0 has no Transfer-Encoding.")
    if encodings not in ([], [b"chunked"]):
        raise unknown_encoding()


def without_upgrade(method: bytes, url: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The same head without its wish for another protocol."""
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"".join((b"%b %b HTTP/%b\r\n" % (method, url, version.encode("ascii")), *lines, b"\r\n"))
