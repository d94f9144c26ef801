"""Refuse calls that another site's page has a browser make."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from starlette.types import Scope

from leaderboard_core.errors import ForbiddenOrigin
from leaderboard_core.http.client_address import ClientAddresses, peer_of
from leaderboard_core.http.messages import first_header

_PORTS: Final = {"http": 80, "https": 443}


class Origins:
    """The sites whose pages may change something: this one, and those that CORS_ORIGINS lists.

    A browser sends `Origin` with each call that changes something and a page cannot keep it from that. Nobody else
    sends it, so what has none passes. `allowed_hosts`, if there are any, are the only names that this system has: a
    foreign name that its owner lets point here is the same site as itself.
    """

    def __init__(
        self, addresses: ClientAddresses, *, cors_origins: Collection[str] = (), allowed_hosts: Collection[str] = ()
    ) -> None:
        self._addresses = addresses
        self._listed = frozenset(cors_origins)
        self._hosts = frozenset(allowed_hosts)

    def check(self, origin: str | None, scope: Scope) -> None:
        """Raises ForbiddenOrigin for a foreign origin, and for a host that is not among the allowed ones."""
        if origin is None and not self._hosts:
            return
        host = _split(f"//{self._host(scope)}")
        if self._hosts and (host is None or host.hostname not in self._hosts):
            raise ForbiddenOrigin("This host is not served here; ALLOWED_HOSTS lists those that are.")
        if origin is None or origin in self._listed:
            return
        site = _split(origin)
        # Not by scheme: whatever ends TLS in front of us need not tell.
        if site is None or host is None or _place(site, site.scheme) != _place(host, site.scheme):
            raise ForbiddenOrigin

    def _host(self, scope: Scope) -> str:
        headers, named = scope["headers"], None
        if self._addresses.trusts(peer_of(scope)):
            named = first_header(headers, b"x-forwarded-host")
        return (named or first_header(headers, b"host") or b"").decode("latin-1")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError:
        return None
    return parts if parts.hostname else None


def _place(parts: SplitResult, scheme: str) -> tuple[str | None, int | None]:
    return parts.hostname, parts.port or _PORTS.get(scheme)
