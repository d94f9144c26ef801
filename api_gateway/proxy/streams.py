"""The limit of live streams that one client address may have at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from leaderboard_core.errors import RateLimited

_RETRY_AFTER_SECONDS: Final = 5.0


class StreamPlaces:
    """Counts the live streams of each address through this gateway."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken: dict[str, int] = {}

    @contextmanager
    def place(self, address: str) -> Iterator[None]:
        """Hold a place for one stream; an address that is not known, '', has as many as it likes.

        Raises RateLimited.
        """
        if not address:
            yield
            return
        taken = self.taken.get(address, 0)
        if taken >= self._most:
            raise RateLimited(
                "This address has as many live streams as it may; end one.", retry_after=_RETRY_AFTER_SECONDS
            )
        self.taken[address] = taken + 1
        try:
            yield
        finally:
            left = self.taken.pop(address) - 1
            if left:
                self.taken[address] = left
