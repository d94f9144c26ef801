"""How a service is asked, where it is, and whether it says that it is stopping."""

from __future__ import annotations

import pytest

from api_gateway.upstream.client import encode_request
from api_gateway.upstream.health import says_stopping
from api_gateway.upstream.pool import Upstream


def upstream_request(method: str, headers: list[tuple[bytes, bytes]], body: bytes | None) -> bytes:
    return encode_request(Upstream("http://service:5001"), method, b"/x?y=1", headers, body)


def test_a_request_on_the_wire() -> None:
    host = (b"host", b"h")
    assert upstream_request("GET", [host], None) == b"GET /x?y=1 HTTP/1.1\r\nhost: h\r\n\r\n"
    assert upstream_request("DELETE", [host], None).endswith(b"content-length: 0\r\n\r\n")
    assert upstream_request("POST", [host], b"{}").endswith(b"host: h\r\ncontent-length: 2\r\n\r\n{}")
    assert upstream_request("GET", [], None) == b"GET /x?y=1 HTTP/1.1\r\nhost: service:5001\r\n\r\n"


@pytest.mark.parametrize(
    ("url", "host", "port", "address"),
    [
        ("http://127.0.0.1:5001", "127.0.0.1", 5001, "127.0.0.1:5001"),
        ("http://[::1]:5001", "::1", 5001, "[::1]:5001"),
        ("http://service", "service", 80, "service"),
    ],
)
def test_where_a_service_is(url: str, host: str, port: int, address: str) -> None:
    upstream = Upstream(url)
    assert (upstream.host, upstream.port, upstream.address) == (host, port, address)


@pytest.mark.parametrize(
    ("body", "stopping"),
    [
        (b'{"ok":false,"stopping":true}', True),
        (b'{"stopping":false}', False),
        (b'{"stopping":"true"}', False),
        (b'{"ok":true}', False),
        (b"[true]", False),
        (b"<html>stopping</html>", False),
        (b"", False),
    ],
)
def test_who_says_that_it_is_stopping(body: bytes, stopping: bool) -> None:
    assert says_stopping(body) is stopping
