"""Find the address of the client behind trusted proxies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_KNOWN_ADDRESSES = 4096
_LONGEST_ADDRESS = 64


class ClientAddresses:
    """Tells clients apart by address. `X-Forwarded-For` is believed as far as trusted proxies wrote it.

    A trusted proxy is no client: what comes from one without a word about its client is limited by nothing that goes
    by address, so that a proxy that does not say whom it speaks for is not taken for one busy player.
    """

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)
        self._is_trusted = lru_cache(_KNOWN_ADDRESSES)(self._find_trusted)

    def of(self, scope: Scope) -> str:
        """Return what stands for a client: its address, of IPv6 the /64; "" when only trusted ones are known."""
        found = self.find(peer_of(scope), forwarded_for(scope))
        return "" if self.trusts(found) else _plain(found)

    def trusts(self, peer: str) -> bool:
        """Tell whether a peer's word counts; '' is a Unix socket's, whose folder lets in whom it should."""
        return not peer or self._is_trusted(peer)

    def find(self, peer: str, forwarded: bytes) -> str:
        """Return the address of the client behind a peer, '' when none is known; `forwarded` is `X-Forwarded-For`.

        Each proxy adds whom it was called by at the end, so that the last address that is not a trusted proxy's is the
        client's, and what stands before it is the client's own word.
        """
        nearest = peer
        if not self.trusts(peer):
            return nearest
        for text in reversed(forwarded.decode("latin-1").split(",")):
            address = text.strip()
            if parse_address(address) is None:
                break
            nearest = address
            if not self._is_trusted(address):
                break
        return nearest

    def _find_trusted(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in self._trusted)


def peer_of(scope: Scope) -> str:
    """Return the address at the other end of a request's connection; '' for a Unix socket."""
    client = scope.get("client")
    return client[0] if client else ""


def forwarded_for(scope: Scope) -> bytes:
    """Return the addresses of a request's `X-Forwarded-For`, of all its lines."""
    return b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")


def _plain(text: str) -> str:
    """Return one spelling for each address; of IPv6 the /64, which is what one customer gets."""
    address = parse_address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return text if address is None else str(address)


def parse_address(text: str) -> Address | None:
    """Return the address that a text spells, None when it spells none; IPv4 in IPv6 is IPv4."""
    if len(text) > _LONGEST_ADDRESS:
        return None
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
