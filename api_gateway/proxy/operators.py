"""Who may see what is meant for operators: metrics, the system's state, and the addresses of its inside."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from starlette.types import Scope

from leaderboard_core.http.client_address import ClientAddresses, Network, forwarded_for, parse_address, peer_of
from leaderboard_core.http.dependencies import Inline

FOR_OPERATORS: Final = "Only addresses that STATUS_ALLOW names may see this."
_KNOWN: Final = 4096
_LONGEST_KEPT: Final = 256


class Operators:
    """Tells by the address of a client whether STATUS_ALLOW names it."""

    def __init__(self, addresses: ClientAddresses, allowed: Iterable[Network]) -> None:
        self._addresses = addresses
        self._allowed = tuple(allowed)
        self._kept = lru_cache(_KNOWN)(self._find)

    def include(self, peer: str, forwarded: bytes) -> bool:
        """Tell whether a client may see it; `peer` and `forwarded` are as in `ClientAddresses.find`."""
        return (self._find if len(forwarded) > _LONGEST_KEPT else self._kept)(peer, forwarded)

    def _find(self, peer: str, forwarded: bytes) -> bool:
        if self._addresses.trusts(peer) and forwarded:
            named = [parse_address(text.strip()) for text in forwarded.decode("latin-1").split(",")]
            if None in named:
                return False  # a proxy whose client has no address: nobody knows who that is
        elif not peer:
            return True  # a process of this machine, through the Unix socket
        address = parse_address(self._addresses.find(peer, forwarded))
        return address is not None and any(address in network for network in self._allowed)


class IsOperator(Inline):
    """A dependency: whether the client of a request may see what is meant for operators."""

    def value(self, scope: Scope) -> bool:
        operators: Operators = scope["state"]["operators"]
        return operators.include(peer_of(scope), forwarded_for(scope))
