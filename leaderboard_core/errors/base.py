"""Define what every error is: an exception with an HTTP status, a code and the envelope."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar


class LeaderboardError(Exception):
    """Something the caller must know; `message` says what to do about it."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    default_message: ClassVar[str] = "Something went wrong here. Try again; if it stays, give us the X-Request-ID."

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or self.default_message
        self.details = details
        super().__init__(self.message)

    @property
    def headers(self) -> dict[str, str]:
        return {}

    def envelope(self) -> dict[str, Any]:
        """The JSON body: `{"error", "message", …details}`."""
        return {"error": self.code, "message": self.message, **self.details}


class RetryLater(LeaderboardError):
    """Refused for now; `retry_after` is in seconds."""

    def __init__(self, message: str | None = None, *, retry_after: float = 1.0, **details: Any) -> None:
        self.retry_after = max(retry_after, 0.001)
        super().__init__(message, retry_after=round(self.retry_after, 3), **details)

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(math.ceil(self.retry_after))}


def all_errors(root: type[LeaderboardError] = LeaderboardError) -> Mapping[str, type[LeaderboardError]]:
    """Every error by its code, for the tests and the API description."""
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(all_errors(child))
    return found


def describe(error: BaseException) -> str:
    """Say in one line what a driver raised."""
    return f"{type(error).__name__}: {error}".strip().rstrip(":").splitlines()[0]
