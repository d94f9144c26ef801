"""Describes in OpenAPI what FastAPI cannot see in a signature: the errors of a call, and headers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from leaderboard_core.errors import (
    InvalidPayload,
    InvalidToken,
    LeaderboardError,
    MissingToken,
    PayloadTooLarge,
    RateLimited,
    Repartitioning,
    RetryLater,
    TooManyStreams,
    Unavailable,
    UnknownRegion,
    UnsupportedMediaType,
    WarmingUp,
)
from leaderboard_service.schemas import ErrorEnvelope

Errors = tuple[type[LeaderboardError], ...]
Responses = dict[int | str, dict[str, Any]]

TOKEN_ERRORS: Final[Errors] = (MissingToken, InvalidToken)
NOT_READ: Final[Errors] = (PayloadTooLarge, UnsupportedMediaType)
"""The errors of a body that is not looked into."""
BODY_ERRORS: Final[Errors] = (*NOT_READ, InvalidPayload, UnknownRegion)
STORE_ERRORS: Final[Errors] = (Unavailable, WarmingUp, Repartitioning)
READ_ERRORS: Final[Errors] = (InvalidPayload, UnknownRegion, Unavailable)
"""The errors of a read that goes to Postgres when Redis does not hold its data."""
STREAM_ERRORS: Final[Errors] = (*READ_ERRORS, RateLimited, TooManyStreams)
"""The errors of a stream; gateways and NGINX limit how many an address has."""

_RETRY_AFTER: Final = {
    "Retry-After": {"description": "Whole seconds; `retry_after` is exact.", "schema": {"type": "integer"}},
}
_ENVELOPE: Final = {"$ref": f"#/components/schemas/{ErrorEnvelope.__name__}"}

TITLE: Final = "Leaderboard API"
"""Generators name their package after it: one called leaderboard_client would be in our client's way."""
SERVERS: Final = [{"url": "/", "description": "Wherever this document came from."}]
CONTACT: Final = {"name": "Whoever runs this leaderboard"}
LICENSE: Final = {"name": "MIT", "identifier": "MIT"}
DESCRIPTION: Final = """Real-time leaderboards. Send `Authorization: Bearer <token>` where a lock is shown.

Every error is `{"error": "<code>", "message": "<what to do>"}`. The gateways and NGINX in front of the services answer
with 408 `request_timeout`, 413 `payload_too_large`, 502 `bad_gateway`, 503 `unavailable` and 504 `gateway_timeout` of
their own, on any path. docs/api.md has the promises that hold for all calls.

Bodies are JSON in UTF-8, not compressed. Scores are whole numbers in ±(2^53-1) and taken in any notation: `250`,
`250.0` and `2.5e2` are the same. Times are microseconds since the epoch. Both need 64 bits."""
TAGS: Final = [
    {"name": "auth", "description": "Accounts: who a player is."},
    {"name": "scores", "description": "Score writes. Each needs a token and takes an Idempotency-Key."},
    {"name": "boards", "description": "Reads of boards. They need no token."},
    {"name": "definitions", "description": "Which boards there are, and their rules."},
    {"name": "users", "description": "A player as a whole."},
    {"name": "live", "description": "Live boards as Server-Sent Events. They need no token."},
    {"name": "system", "description": "For operators: health, state and metrics."},
]


def refused_with(*errors: type[LeaderboardError]) -> Responses:
    """Describe the errors of a call by status: each one's code, and a link to a recorded envelope."""
    return {status: _refusals(status, errors) for status in sorted({error.status for error in errors})}


def _refusals(status: int, errors: Errors) -> dict[str, Any]:
    found = [error for error in errors if error.status == status]
    named = [error.code for error in found]
    # Not models: FastAPI would give the errors of a stream the stream's own media type.
    described: dict[str, Any] = {
        "description": "\n\n".join(f"`{error.code}`: {error.default_message}" for error in found),
        "content": envelope_of(named),
    }
    if all(issubclass(error, RetryLater) for error in found):
        described["headers"] = _RETRY_AFTER
    return described


def envelope_of(codes: Iterable[str]) -> dict[str, Any]:
    """Describe the content of an error that has one of these codes."""
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {"application/json": {"schema": _ENVELOPE, "examples": examples}}
