"""Find the address of the client behind trusted proxies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_KNOWN_ADDRESSES = 4096


class ClientAddresses:
    """Tells clients apart by address. `X-Forwarded-For` is believed as far as trusted proxies wrote it.

    A trusted proxy is no client: what comes from one without a word about its client is limited by nothing that goes
    by address, so that a proxy that does not say whom it speaks for is not taken for one busy player.
    """

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)
        self._is_trusted = lru_cache(_KNOWN_ADDRESSES)(self._find_trusted)

    def of(self, scope: Scope) -> str:
        """Return the address of a request's client; '' when none but trusted ones are known.

        Each proxy adds whom it was called by at the end, so that the last address that is not a trusted proxy's is the
        client's, and what stands before it is the client's own word. Who comes through a Unix socket is trusted: its
        folder lets in whom it should.
        """
        client = scope.get("client")
        nearest = client[0] if client else ""
        if nearest and not self._is_trusted(nearest):
            return _plain(nearest)
        named = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for text in reversed(named.decode("latin-1").split(",")):
            address = text.strip()
            if _parse(address) is None:
                break
            nearest = address
            if not self._is_trusted(address):
                break
        return "" if self._is_trusted(nearest) else _plain(nearest)

    def _find_trusted(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and any(address in network for network in self._trusted)


def _plain(text: str) -> str:
    """Return one spelling for each address; of IPv6 the /64, which is what one customer gets."""
    address = _parse(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return text if address is None else str(address)


def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
