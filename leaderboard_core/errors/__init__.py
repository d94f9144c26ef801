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

from leaderboard_core.errors.base import (
    LeaderboardError,
    RetryLater,
    all_errors,
    describe,
)
from leaderboard_core.errors.boards import (
    BoardClosed,
    BoardNotFound,
    FixedField,
    MainBoard,
    MetadataTooLarge,
    NoEntry,
    NoSubmitsLeft,
    NotEverywhere,
    ScoreOutOfBounds,
    ScoreOutOfRange,
    TooManyBoards,
    WrongOperator,
)
from leaderboard_core.errors.requests import (
    BadGateway,
    Forbidden,
    ForbiddenOrigin,
    GatewayTimeout,
    IdempotencyKeyInUse,
    InvalidCredentials,
    InvalidPayload,
    InvalidToken,
    MethodNotAllowed,
    MissingToken,
    NotFound,
    PayloadTooLarge,
    QueueFull,
    RateLimited,
    RegionMismatch,
    RegionRateLimited,
    Repartitioning,
    RequestTimeout,
    TooManyStreams,
    Unavailable,
    UnknownRegion,
    UnsupportedMediaType,
    UserExists,
    UserNotFound,
    WarmingUp,
)

__all__ = [
    "BadGateway",
    "BoardClosed",
    "BoardNotFound",
    "FixedField",
    "Forbidden",
    "ForbiddenOrigin",
    "GatewayTimeout",
    "IdempotencyKeyInUse",
    "InvalidCredentials",
    "InvalidPayload",
    "InvalidToken",
    "LeaderboardError",
    "MainBoard",
    "MetadataTooLarge",
    "MethodNotAllowed",
    "MissingToken",
    "NoEntry",
    "NoSubmitsLeft",
    "NotEverywhere",
    "NotFound",
    "PayloadTooLarge",
    "QueueFull",
    "RateLimited",
    "RegionMismatch",
    "RegionRateLimited",
    "Repartitioning",
    "RequestTimeout",
    "RetryLater",
    "ScoreOutOfBounds",
    "ScoreOutOfRange",
    "TooManyBoards",
    "TooManyStreams",
    "Unavailable",
    "UnknownRegion",
    "UnsupportedMediaType",
    "UserExists",
    "UserNotFound",
    "WarmingUp",
    "WrongOperator",
    "all_errors",
    "describe",
]
