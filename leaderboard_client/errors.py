"""Define the exceptions of calls: one tree, a class per family of answers."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import responses
from typing import Any


class LeaderboardError(Exception):
    """A call that did not succeed.

    `code` is the API's error code ("user_not_found"), `message` says what to do, `status` is the HTTP status or None
    when no answer came, `request_id` finds the call in the system's logs, `retry_after` is in seconds when the system
    said when to come back, and `details` holds whatever else it said (`fields`, `regions`, `queue_length`).
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "error",
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.details: Mapping[str, Any] = details or {}

    def __str__(self) -> str:
        facts = [
            *([f"HTTP {self.status}"] if self.status is not None else []),
            *([f"request {self.request_id}"] if self.request_id else []),
        ]
        return f"{self.code}: {self.message}" + (f" ({', '.join(facts)})" if facts else "")


class InvalidRequest(LeaderboardError):
    """The request was refused as it stands (400, 405, 413, 422 …); `details["fields"]` may name what is wrong."""


class Unauthorized(LeaderboardError):
    """No token, a token that is not valid any more, or credentials that do not belong together (401)."""


class Forbidden(LeaderboardError):
    """The token may not do that (403)."""


class NotFound(LeaderboardError):
    """There is no such player, or no such path (404)."""


class Conflict(LeaderboardError):
    """The user_id is taken, or the player belongs to another region (409)."""


class RateLimited(LeaderboardError):
    """Too much at once, and the call's time to wait was over (429); `retry_after` says when to come back."""


class ServerError(LeaderboardError):
    """The system failed (500 and above)."""


class Unavailable(ServerError):
    """A part of the system is unavailable, and the call's time to wait was over (502, 503, 504)."""


class UnexpectedAnswer(LeaderboardError):
    """The answer is not what the API promises: probably something else answers at this address."""


class ConnectionFailed(LeaderboardError):
    """No whole answer came. `maybe_done` is False when the request cannot have been received.

    A score write that raises this may be repeated with the same `key`; it counts once.
    """

    def __init__(self, message: str, *, maybe_done: bool = False, hopeless: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.maybe_done = maybe_done
        self.hopeless = hopeless
        """Repeating it cannot help: the request itself cannot be sent."""


_FAMILIES: dict[int, type[LeaderboardError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def family_of(status: int) -> type[LeaderboardError]:
    """Return the class for an answer with this status, which is not a success."""
    if status in _FAMILIES:
        return _FAMILIES[status]
    if status >= 500:
        return ServerError
    return InvalidRequest if status >= 400 else UnexpectedAnswer


def error_of(
    status: int, body: object, *, request_id: str | None = None, retry_after: float | None = None
) -> LeaderboardError:
    """Build the exception for an answer that is not a success; `body` is its JSON, or None when it is none."""
    envelope = body if isinstance(body, dict) else {}
    code, message = envelope.get("error"), envelope.get("message")
    return family_of(status)(
        message if isinstance(message, str) else responses.get(status, "no reason given"),
        code=code if isinstance(code, str) else f"http_{status}",
        status=status,
        request_id=request_id,
        retry_after=retry_after,
        details={name: value for name, value in envelope.items() if name not in ("error", "message")},
    )
