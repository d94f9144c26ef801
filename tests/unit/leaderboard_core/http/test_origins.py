"""Which pages may make a call that changes something."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from leaderboard_core.errors import ForbiddenOrigin
from leaderboard_core.http.client_address import ClientAddresses
from leaderboard_core.http.origins import Origins

ADDRESSES = ClientAddresses([ip_network("127.0.0.0/8")])
LISTED = Origins(ADDRESSES, cors_origins=["https://game.example", "null"])


def passes(origins: Origins, origin: str | None, host: str, peer: str = "203.0.113.9", forwarded: str = "") -> bool:
    headers = [(b"host", host.encode())] if host else []
    headers += [(b"x-forwarded-host", forwarded.encode())] if forwarded else []
    try:
        origins.check(origin, {"client": (peer, 1) if peer else None, "headers": headers})
    except ForbiddenOrigin:
        return False
    return True


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        (None, "play.example", True),
        ("http://play.example", "play.example", True),
        ("https://play.example", "play.example", True),
        ("https://play.example", "play.example:443", True),
        ("http://play.example:80", "play.example", True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("https://PLAY.example", "play.Example", True),
        ("http://play.example:8080", "play.example", False),
        ("http://play.example", "play.example:8080", False),
        ("http://localhost:8080", "127.0.0.1:8080", False),
        ("https://play.example.evil.example", "play.example", False),
        ("https://evil.example", "play.example", False),
        ("null", "play.example", False),
        ("", "play.example", False),
        ("https://", "", False),
        ("https://play.example:port", "play.example", False),
        ("https://evil.example", "evil.example, play.example", False),
    ],
)
def test_the_same_host_and_port_whatever_the_scheme(origin: str | None, host: str, same: bool) -> None:
    assert passes(Origins(ADDRESSES), origin, host) is same


def test_listed_origins_pass() -> None:
    assert passes(LISTED, "https://game.example", "play.example")
    assert passes(LISTED, "null", "play.example")
    assert not passes(LISTED, "http://game.example", "play.example")


def test_the_host_that_the_client_named_counts_if_a_trusted_proxy_says_so() -> None:
    origin = "https://play.example"
    assert passes(LISTED, origin, "gateways", peer="127.0.0.1", forwarded="play.example")
    assert passes(LISTED, origin, "gateways", peer="", forwarded="play.example")
    assert not passes(LISTED, origin, "gateways", forwarded="play.example")


def test_where_hosts_are_listed_no_other_is_served() -> None:
    origins = Origins(ADDRESSES, cors_origins=["https://game.example"], allowed_hosts=["play.example", "::1"])
    assert passes(origins, None, "play.example:8080")
    assert passes(origins, None, "[::1]:8080")
    assert not passes(origins, None, "")
    assert not passes(origins, "https://evil.example", "evil.example"), "a name that its owner lets point here"
    assert not passes(origins, "https://game.example", "evil.example")
