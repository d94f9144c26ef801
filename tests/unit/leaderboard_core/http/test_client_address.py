"""The client's address: from X-Forwarded-For only as far as trusted proxies wrote it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from leaderboard_core.http.client_address import ClientAddresses

TRUSTED = ClientAddresses([ip_network("127.0.0.0/8"), ip_network("10.0.0.0/24"), ip_network("::1")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("127.0.0.1", [], ""),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["1.2.3.4", "198.51.100.1, 10.0.0.7", "127.0.0.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1, nonsense, 10.0.0.7"], ""),
        ("127.0.0.1", ["10.0.0.5, 10.0.0.7"], ""),
        (None, ["198.51.100.1"], "198.51.100.1"),
        (None, [], ""),
        (None, [","], ""),
        ("::1", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("::ffff:127.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["\xff\xfe"], ""),
    ],
)
def test_the_last_address_that_is_not_a_trusted_proxys(peer: str | None, forwarded: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope = {"client": (peer, 1234) if peer else None, "headers": [(b"host", b"x"), *headers]}
    assert TRUSTED.of(scope) == client
