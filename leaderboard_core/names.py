"""Which user_ids and names there may be, for bodies, tokens and commands alike."""

from __future__ import annotations

import re

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
