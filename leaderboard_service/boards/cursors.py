"""Encodes positions of a board as cursors, which clients send back to read on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from zlib import crc32

from leaderboard_core.errors import InvalidPayload
from leaderboard_core.names import is_user_id
from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.boards.ranges import Position
from leaderboard_service.boards.ranking import RankedRow

_VERSION = "1"
_CHECKSUM_BYTES = 4


def cursor_after(region: str, rows: Sequence[RankedRow], *, more: bool) -> str | None:
    """Return the cursor of the page after these rows of the board of `region`; None at the end."""
    return encode(region, Position(rows[-1].score, rows[-1].user_id)) if more and rows else None


def encode(region: str, position: Position) -> str:
    """Encode a position on the board of `region`."""
    content = f"{_VERSION}\n{region}\n{position.score}\n{position.user_id}".encode()
    return base64.urlsafe_b64encode(crc32(content).to_bytes(_CHECKSUM_BYTES, "big") + content).rstrip(b"=").decode()


def decode(cursor: str, region: str) -> Position:
    """Decode a cursor of the board of `region`. Raises InvalidPayload."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, board, score, user_id = raw[_CHECKSUM_BYTES:].decode().split("\n")
        position = Position(int(score), user_id)
    except (binascii.Error, ValueError) as error:
        raise _invalid() from error
    if version != _VERSION or not is_user_id(user_id) or abs(position.score) > MAX_EXACT_INTEGER:
        raise _invalid()
    if encode(board, position) != cursor:
        raise _invalid()  # cut, changed or encoded otherwise
    if board != region:
        raise _invalid(f"is one of the board {board}, not of {region}")
    return position


def _invalid(message: str = "is not one that this API gave") -> InvalidPayload:
    return InvalidPayload(
        "Send the next_cursor of the page before as it was given, with the same region.",
        fields=[{"field": "cursor", "message": message}],
    )
