"""Encodes points on boards as cursors, which clients send back to read on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from zlib import crc32

from leaderboard_core.boards import Place
from leaderboard_core.errors import InvalidPayload
from leaderboard_core.names import is_user_id
from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.boards.ranges import Point
from leaderboard_service.boards.ranking import RankedRow

_VERSION = "1"
_CHECKSUM_BYTES = 4


def cursor_after(place: Place, rows: Sequence[RankedRow], *, more: bool) -> str | None:
    """Return the cursor of the page after these rows of a ranking; None at the end."""
    return encode(place, Point(rows[-1].key, rows[-1].member)) if more and rows else None


def encode(place: Place, point: Point) -> str:
    """Encode a point in a ranking."""
    return _encode(place.name, point)


def _encode(name: str, point: Point) -> str:
    content = f"{_VERSION}\n{name}\n{point.key}\n{point.member}".encode()
    return base64.urlsafe_b64encode(crc32(content).to_bytes(_CHECKSUM_BYTES, "big") + content).rstrip(b"=").decode()


def decode(cursor: str, place: Place) -> Point:
    """Decode a cursor of a ranking. Raises InvalidPayload."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, name, key, member = raw[_CHECKSUM_BYTES:].decode().split("\n")
        point = Point(int(key), member)
    except (binascii.Error, ValueError) as error:
        raise _invalid() from error
    if version != _VERSION or _encode(name, point) != cursor:
        raise _invalid()  # cut, changed or encoded otherwise
    if name != place.name:
        raise _invalid(f"is one of the board {name}, not of {place.name}")
    if not is_user_id(place.board.user_id_of(member)) or abs(point.key) > MAX_EXACT_INTEGER:
        raise _invalid()
    return point


def _invalid(message: str = "is not one that this API gave") -> InvalidPayload:
    return InvalidPayload(
        "Send the next_cursor of the page before as it was given, with the same region.",
        fields=[{"field": "cursor", "message": message}],
    )
