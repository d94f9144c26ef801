"""Say which players one Redis of several holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Partition:
    """One of `count` parts of the players of some regions; a part is chosen by the CRC-32 of the user_id in UTF-8.

    A name that says nothing of a partition means the whole: so it was before there were any.
    """

    index: int = 0
    count: int = 1

    @property
    def is_whole(self) -> bool:
        return self.count == 1

    def holds(self, user_id: str) -> bool:
        """Whether a player of that user_id belongs here."""
        return self.count == 1 or index_of(user_id, self.count) == self.index

    def share_of(self, limit: int) -> int:
        """This partition's part of a limit of the whole, rounded up."""
        return -(-limit // self.count)

    def name(self, whole: str) -> str:
        """Name this part of something: `EU`, or `EU 1/4`."""
        return whole if self.is_whole else f"{whole} {self.index}/{self.count}"

    def encode_scope(self, regions: Sequence[str]) -> str:
        """Encode which players an admission is for: `ASIA,EU`, or `ASIA,EU:1/4`."""
        names = ",".join(sorted(regions))
        return names if self.is_whole else f"{names}:{self}"

    @classmethod
    def parse_scope(cls, text: str) -> tuple[tuple[str, ...], Self]:
        """Read what `encode_scope` has made. Raises ValueError."""
        names, _, part = text.partition(":")
        return tuple(names.split(",")), cls.parse(part) if part else cls()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1/4`. Raises ValueError."""
        index, _, count = text.partition("/")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Partition()


def index_of(user_id: str, count: int) -> int:
    """The number of the partition, of `count`, that holds a user_id."""
    return crc32(user_id.encode()) % count
