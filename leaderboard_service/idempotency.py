"""Reads the Idempotency-Key of a write, and fingerprints the request that it was sent with."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from leaderboard_core.errors import InvalidPayload

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An Idempotency-Key and the fingerprint of its request."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str, path: str, body: bytes) -> Self:
        """Build the key of a request. Raises InvalidPayload for one that is not 1-255 visible ASCII characters."""
        if not _KEY.fullmatch(key):
            raise InvalidPayload(
                f"The {HEADER} header takes 1 to 255 visible ASCII characters.",
                fields=[{"field": HEADER, "message": "is not valid"}],
            )
        content = path.encode() + b"\n" + body
        return cls(key, hashlib.blake2b(content, digest_size=16).hexdigest())

    def of_item(self, index: int) -> Idempotency:
        """Build the key of one score in a batch; it has a blank, which no client's own key has."""
        return Idempotency(f"{self.key} {index}", self.fingerprint)
