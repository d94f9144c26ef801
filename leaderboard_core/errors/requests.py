"""Define the errors of requests, tokens and players, and of the parts of the system."""

from __future__ import annotations

from typing import Any

from leaderboard_core.errors.base import LeaderboardError, RetryLater


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


class TooManyStreams(RetryLater):
    status, code = 503, "too_many_streams"
    default_message = "This replica has live streams of as many boards as it may; another one may have room."


class GatewayTimeout(LeaderboardError):
    status, code = 504, "gateway_timeout"
    default_message = "The leaderboard service did not answer in time."
