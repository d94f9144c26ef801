"""Resolves the names of regions as clients write them."""

from __future__ import annotations

from leaderboard_core.errors import UnknownRegion


class Regions(tuple[str, ...]):
    """The names of all regions, in the order of the settings."""

    __slots__ = ()

    def resolve(self, text: str) -> str:
        """Return a region's name as it is stored, from any case. Raises UnknownRegion, which lists the known ones."""
        if text in self:
            return text
        name = text.upper() if text.isascii() else text  # "ſ".upper() is "S"
        if name not in self:
            raise UnknownRegion(text, self)
        return name
