"""Which user_ids and names there may be, for bodies, tokens and commands alike, and which new ones.

The rule for new ones is stricter. Who got an id or a name before it was made keeps them, and is read, written, paged,
exported and deleted by them.
"""

from __future__ import annotations

import re
import unicodedata

MAX_USER_ID = 128
MAX_NAME = 200

USER_ID_PATTERN = r"^[^\s\x00-\x1f\x7f-\x9f/]+$"
NAME_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"
"""For the schemas, in what the dialects of pydantic, JavaScript and Python share, so that whoever reads the OpenAPI
document can use them; a test holds them against the functions below."""

# Surrogates are no characters: JSON can spell them, and nothing can store them.
_USER_ID = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f/\ud800-\udfff]{{1,{MAX_USER_ID}}}")
_NAME = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{MAX_NAME}}}")


def is_user_id(text: str) -> bool:
    """1-128 characters without white space, control characters or "/"."""
    return _USER_ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """1-200 characters without control characters."""
    return _NAME.fullmatch(text) is not None


_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters and symbols by category that show nothing: Hangul fillers, the empty Braille cell."""
_LINE_ENDS = frozenset("\u2028\u2029")
_CLOSED_BY = {**dict.fromkeys("\u202a\u202b\u202d\u202e", "\u202c"), **dict.fromkeys("\u2066\u2067\u2068", "\u2069")}
"""Embeddings and overrides end with PDF, isolates with PDI (Unicode Standard Annex 9)."""


def why_no_new_user_id(text: str) -> str | None:
    """Say what keeps a user_id (by `is_user_id`) from being a new player's; None when nothing does."""
    if text in (".", ".."):
        return "must not be '.' or '..', which URLs lose"
    if text.isascii():
        return None
    if not unicodedata.is_normalized("NFC", text):
        return "must be in Unicode's normalization form C (NFC), so that what looks the same is the same"
    return _why_unreadable(text)


def why_no_new_name(text: str) -> str | None:
    """Say what keeps a name (by `is_name`) from being given; None when nothing does."""
    if text.isascii():
        return None if text.strip() else _NOTHING
    return _why_unreadable(text)


_NOTHING = "must show something: it has white space, format or filler characters only"


def _why_unreadable(text: str) -> str | None:
    if not any(unicodedata.category(one)[0] in "LNPS" and one not in _BLANK for one in text):
        return _NOTHING
    if not _LINE_ENDS.isdisjoint(text):
        return "must be one line: it has U+2028 or U+2029"
    open_ends: list[str] = []
    for one in text:
        if one in _CLOSED_BY:
            open_ends.append(_CLOSED_BY[one])
        elif one in _CLOSED_BY.values() and (not open_ends or open_ends.pop() != one):
            return _DIRECTION
    return _DIRECTION if open_ends else None


_DIRECTION = "must end each direction of writing that it begins: it has bidirectional controls without their end"
