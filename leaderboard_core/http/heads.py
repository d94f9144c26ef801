"""What the head of a request may be, and what is answered in the envelope to one that is none."""

from __future__ import annotations

import secrets
from http import HTTPStatus

import orjson


class Refusal(Exception):
    """What is answered to bytes that are no request; the connection ends with it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)

    def encode(self) -> bytes:
        """The whole answer."""
        body = orjson.dumps({"error": self.code, "message": self.message})
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            "content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            f"x-request-id: {secrets.token_hex(16)}\r\n"
            "connection: close\r\n\r\n"
        )
        return head.encode("ascii") + body


def malformed(message: str = "This is not a well-formed HTTP request.") -> Refusal:
    """The refusal of what is not HTTP/1.1 or HTTP/1.0."""
    return Refusal(400, "bad_request", message)


def unknown_encoding() -> Refusal:
    """The refusal of a body in a coding that is not known here."""
    return Refusal(501, "not_implemented", "The only Transfer-Encoding known here is chunked.")


def check_framing(version: str, headers: list[tuple[bytes, bytes]], names: list[bytes]) -> None:
    """Raise the Refusal of a head of which two readers may think differently."""
    if version not in ("1.1", "1.0"):
        raise malformed("This version of HTTP is not spoken here; use HTTP/1.1.")
    hosts = names.count(b"host")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise malformed("A request has one Host header.")
    encodings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if encodings and version == "1.0":
        raise malformed("HTTP/1.0 has no Transfer-Encoding.")
    if encodings not in ([], [b"chunked"]):
        raise unknown_encoding()


def without_upgrade(method: bytes, url: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The same head without its wish for another protocol. Raises Refusal for CONNECT, which is nothing but that."""
    if method == b"CONNECT":
        raise malformed("This is no proxy.")
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"".join((b"%b %b HTTP/%b\r\n" % (method, url, version.encode("ascii")), *lines, b"\r\n"))
