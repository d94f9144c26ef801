"""The phrases of statuses as RFC 9110 has them: Python's own differ from version to version."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

_RFC_9110: Final = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}


def phrase_of(status: int) -> str:
    """Return the phrase of a status that HTTP defines. Raises ValueError for others."""
    return _RFC_9110.get(status) or HTTPStatus(status).phrase
