"""Define every error that a client can see: its HTTP status, its code and the envelope.

A handler raises one of these classes, and the application renders it. RetryLater has no code of its own: it is what
its children share, a `Retry-After` header and `retry_after` in seconds.

LeaderboardError            500 internal_error
    RetryLater
        RateLimited         429 rate_limited
        RegionRateLimited   429 region_rate_limited
        QueueFull           429 queue_full
        Unavailable         503 unavailable
        WarmingUp           503 warming_up
            Repartitioning  503 repartitioning
        NotEverywhere       503 not_everywhere
        TooManyStreams      503 too_many_streams
    MissingToken            401 missing_token
        InvalidToken        401 invalid_token
    InvalidCredentials      401 invalid_credentials
    Forbidden               403 forbidden
    ForbiddenOrigin         403 forbidden_origin
    NotFound                404 not_found
    UserNotFound            404 user_not_found
        NoEntry             404 no_entry
    BoardNotFound           404 board_not_found
    MethodNotAllowed        405 method_not_allowed
    RequestTimeout          408 request_timeout
    UserExists              409 user_exists
    RegionMismatch          409 region_mismatch
    BoardClosed             409 board_closed
    FixedField              409 fixed_field
    MainBoard               409 main_board
    NoSubmitsLeft           409 no_submits_left
    TooManyBoards           409 too_many_boards
    PayloadTooLarge         413 payload_too_large
    UnsupportedMediaType    415 unsupported_media_type
    IdempotencyKeyInUse     422 idempotency_key_reused
    InvalidPayload          422 invalid_payload
    UnknownRegion           422 unknown_region
    ScoreOutOfRange         422 score_out_of_range
    ScoreOutOfBounds        422 score_out_of_bounds
    WrongOperator           422 wrong_operator
    MetadataTooLarge        422 metadata_too_large
    BadGateway              502 bad_gateway
    GatewayTimeout          504 gateway_timeout
"""

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


class MissingToken(LeaderboardError):
    status, code = 401, "missing_token"
    default_message = "Send 'Authorization: Bearer <token>'; POST /auth/register or /auth/login gives one."

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class InvalidToken(MissingToken):
    code = "invalid_token"
    default_message = "The token is not valid or has expired; get a new one from POST /auth/login."


class InvalidCredentials(LeaderboardError):
    status, code = 401, "invalid_credentials"
    default_message = "user_id and password, secret or name do not belong together."


class Forbidden(LeaderboardError):
    status, code = 403, "forbidden"
    default_message = "This token may not do that."


class ForbiddenOrigin(LeaderboardError):
    status, code = 403, "forbidden_origin"
    default_message = "A page of another site made this call; CORS_ORIGINS lists the sites that may."


class NotFound(LeaderboardError):
    status, code = 404, "not_found"
    default_message = "There is nothing at this path; docs/api.md lists the calls."


class UserNotFound(LeaderboardError):
    """`source` says which store a read had looked into: Postgres may not know the newest players yet."""

    status, code = 404, "user_not_found"
    default_message = "No such player here."
    source: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Leaderboard-Source": self.source} if self.source else {}


class NoEntry(UserNotFound):
    code = "no_entry"
    default_message = "This player is not on this board."


class BoardNotFound(LeaderboardError):
    status, code = 404, "board_not_found"
    default_message = "There is no such board; GET /boards lists those that there are."


class MethodNotAllowed(LeaderboardError):
    status, code = 405, "method_not_allowed"
    default_message = "This path does not take that verb."

    def __init__(self, message: str | None = None, *, allow: str = "", **details: Any) -> None:
        self.allow = allow
        super().__init__(message, **details)

    @property
    def headers(self) -> dict[str, str]:
        return {"Allow": self.allow} if self.allow else {}


class RequestTimeout(LeaderboardError):
    status, code = 408, "request_timeout"
    default_message = "The request body did not arrive in time."

    @property
    def headers(self) -> dict[str, str]:
        return {"Connection": "close"}  # the rest of the body would stand before the next request


class UserExists(LeaderboardError):
    status, code = 409, "user_exists"
    default_message = "This user_id is taken; use POST /auth/login, or another user_id."


class RegionMismatch(LeaderboardError):
    status, code = 409, "region_mismatch"
    default_message = "The player belongs to another region."


class BoardClosed(LeaderboardError):
    status, code = 409, "board_closed"
    default_message = "This board takes no scores now; nothing was changed."


class FixedField(LeaderboardError):
    status, code = 409, "fixed_field"
    default_message = "This field of the board cannot be changed."

    def __init__(self, message: str | None = None, *, field: str = "", **details: Any) -> None:
        super().__init__(message, field=field, **details)


class NoSubmitsLeft(LeaderboardError):
    status, code = 409, "no_submits_left"
    default_message = "This board counts 'max_submits' scores of a player, and they are used up; nothing was changed."


class MainBoard(LeaderboardError):
    status, code = 409, "main_board"
    default_message = "The board 'main' is always there; empty it by deleting its players."


class TooManyBoards(LeaderboardError):
    status, code = 409, "too_many_boards"
    default_message = "There are as many boards as BOARDS_MAX allows; delete one first."


class IdempotencyKeyInUse(LeaderboardError):
    status, code = 422, "idempotency_key_reused"
    default_message = "This Idempotency-Key was used for another request; take a new key for each write."


class PayloadTooLarge(LeaderboardError):
    status, code = 413, "payload_too_large"
    default_message = "The request body is too large."


class UnsupportedMediaType(LeaderboardError):
    status, code = 415, "unsupported_media_type"
    default_message = "The body has a Content-Encoding; send it as it is, without that header."


class InvalidPayload(LeaderboardError):
    status, code = 422, "invalid_payload"
    default_message = "The request is not valid; see 'fields'."


class UnknownRegion(LeaderboardError):
    status, code = 422, "unknown_region"
    default_message = "There is no such region; 'regions' lists those that there are."

    def __init__(self, region: str, known: tuple[str, ...]) -> None:
        super().__init__(f"Choose one of {', '.join(known)}.", region=region[:64], regions=list(known))


class ScoreOutOfRange(LeaderboardError):
    status, code = 422, "score_out_of_range"
    default_message = "The score would leave ±(2^53-1); nothing was changed."


class ScoreOutOfBounds(LeaderboardError):
    status, code = 422, "score_out_of_bounds"
    default_message = "This board takes scores from 'min' to 'max' only; nothing was changed."


class WrongOperator(LeaderboardError):
    status, code = 422, "wrong_operator"
    default_message = "The board's 'operator' does not do this; nothing was changed."


class MetadataTooLarge(LeaderboardError):
    status, code = 422, "metadata_too_large"
    default_message = "This board keeps at most 'metadata_bytes' bytes of JSON beside a score; nothing was changed."


class RateLimited(RetryLater):
    status, code = 429, "rate_limited"
    default_message = "Too many requests of this player or address; wait 'retry_after' seconds."


class RegionRateLimited(RetryLater):
    status, code = 429, "region_rate_limited"
    default_message = "Too many score writes in this region; wait 'retry_after' seconds."


class QueueFull(RetryLater):
    status, code = 429, "queue_full"
    default_message = "Writes wait to be saved to the database; wait 'retry_after' seconds."


class BadGateway(LeaderboardError):
    status, code = 502, "bad_gateway"
    default_message = "The leaderboard service broke off its answer."


class Unavailable(RetryLater):
    status, code = 503, "unavailable"
    default_message = "A part of the system cannot be reached; try again shortly."


class WarmingUp(RetryLater):
    status, code = 503, "warming_up"
    default_message = "The boards are being rebuilt from the database; try again shortly."


class Repartitioning(WarmingUp):
    code = "repartitioning"
    default_message = "Players are being spread over other servers; boards can be read, and writes wait."


class NotEverywhere(RetryLater):
    status, code = 503, "not_everywhere"
    default_message = (
        "The definition is saved, and not every Redis goes by it yet: that follows by itself; the same call says when."
    )


class TooManyStreams(RetryLater):
    status, code = 503, "too_many_streams"
    default_message = "This replica has live streams of as many boards as it may; another one may have room."


class GatewayTimeout(LeaderboardError):
    status, code = 504, "gateway_timeout"
    default_message = "The leaderboard service did not answer in time."


def all_errors(root: type[LeaderboardError] = LeaderboardError) -> Mapping[str, type[LeaderboardError]]:
    """Every error by its code, for the tests and the API description."""
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(all_errors(child))
    return found


def describe(error: BaseException) -> str:
    """Say in one line what a driver raised."""
    return f"{type(error).__name__}: {error}".strip().rstrip(":").splitlines()[0]
