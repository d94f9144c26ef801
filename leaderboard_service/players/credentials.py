"""What a player that has no password logs in with: its secret, and whether its name is enough."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final, NamedTuple

SELF: Final = "self"
SERVER: Final = "server"


class Credential(NamedTuple):
    """Who made a player, and the hash of its secret ('' if it has none).

    Its text in hash, event and row is `self` or `server`, and after a blank the hash; it is empty for a player from
    before there were secrets, who counts as one that registered itself.
    """

    made_by_server: bool
    secret_hash: str

    @classmethod
    def parse(cls, text: str) -> Credential:
        made_by, _, secret_hash = text.partition(" ")
        return cls(made_by == SERVER, secret_hash)

    def fits(self, secret: str) -> bool:
        """Whether this is the player's secret."""
        return bool(self.secret_hash) and hmac.compare_digest(self.secret_hash, hash_of(secret))


def new_secret() -> str:
    """Make a secret of 128 random bits, as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def hash_of(secret: str) -> str:
    """Hash a secret: SHA-256 in 43 characters. A random secret needs no slow hash, nobody guesses it."""
    return base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()).rstrip(b"=").decode()
