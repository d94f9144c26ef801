"""Cursors: a row's place on a board as a text that clients hand back to read on after it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from zlib import crc32

from leaderboard_core.errors import InvalidPayload
from leaderboard_core.names import is_user_id
from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.boards.ranges import Point
from leaderboard_service.boards.ranking import RankedRow

_VERSION = "1"
_CHECKSUM_BYTES = 4


def cursor_after(region: str, rows: Sequence[RankedRow], *, more: bool) -> str | None:
    """The cursor that leads on from a page of the board of `region`; None at the end."""
    return encode(region, Point(rows[-1].score, rows[-1].user_id)) if more and rows else None


def encode(region: str, point: Point) -> str:
    """The cursor of a place on the board of `region`."""
    content = f"{_VERSION}\n{region}\n{point.score}\n{point.user_id}".encode()
    return base64.urlsafe_b64encode(crc32(content).to_bytes(_CHECKSUM_BYTES, "big") + content).rstrip(b"=").decode()


def decode(cursor: str, region: str) -> Point:
    """The place that a cursor of the board of `region` stands for. Raises InvalidPayload."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, board, score, user_id = raw[_CHECKSUM_BYTES:].decode().split("\n")
        point = Point(int(score), user_id)
    except (binascii.Error, ValueError) as error:
        raise _broken() from error
    if version != _VERSION or not is_user_id(user_id) or abs(point.score) > MAX_EXACT_INTEGER:
        raise _broken()
    if encode(board, point) != cursor:
        raise _broken()  # cut, changed or written otherwise
    if board != region:
        raise _broken(f"is one of the board {board}, not of {region}")
    return point


def _broken(message: str = "is not one that this API gave") -> InvalidPayload:
    return InvalidPayload(
        "Send the next_cursor of the page before as it was given, with the same region.",
        fields=[{"field": "cursor", "message": message}],
    )
