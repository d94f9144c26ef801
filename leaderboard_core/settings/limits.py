"""Settings of what protects the system from too much."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from leaderboard_core.settings.loading import Group

MAX_EXACT_INTEGER = 2**53 - 1
"""The largest whole number that a double, and so a sorted set's score or a Lua number, keeps exactly."""

OTHER_BOARDS: Final = "other"
"""What metrics call the boards that have no series of their own."""


def _is_no_label(name: str) -> str:
    if name == OTHER_BOARDS:
        raise ValueError(f"cannot name a board '{OTHER_BOARDS}': that is what all the others are counted as")
    return name


_BoardName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$"), AfterValidator(_is_no_label)]


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",")]


class LimitSettings(Group):
    """What protects the system: token buckets, backpressure, idempotency."""

    user_rate_limit_count: int = Field(100, ge=1, description="Score writes a player may make in a burst.")
    user_rate_limit_window: int = Field(
        10, ge=1, le=86_400, validate_default=True, description="Seconds in which an empty user bucket fills."
    )
    region_rate_limit_per_sec: int = Field(20_000, ge=1, description="Score writes per second into one region.")
    login_rate_limit_count: int = Field(
        10, ge=1, le=1_000_000, description="Failed logins into one account from one address in a burst."
    )
    login_account_rate_limit_count: int = Field(
        100, ge=1, le=1_000_000, description="Failed logins into one account from all addresses in a burst."
    )
    login_rate_limit_window: int = Field(
        60, ge=1, le=86_400, description="Seconds in which an empty bucket of login tries fills."
    )
    password_rate_limit_count: int = Field(
        60, ge=1, le=1_000_000, description="Passwords that one address may have checked or saved in a burst."
    )
    password_rate_limit_window: int = Field(
        60, ge=1, le=86_400, description="Seconds in which an empty bucket of an address's passwords fills."
    )
    registration_rate_limit_count: int = Field(
        10_000, ge=1, le=1_000_000, description="Registrations that one address may make in a day, at once or not."
    )
    player_writes: bool = Field(
        True, description="Let players send their own scores; else game servers alone do, and players begin with 0."
    )
    min_score: int = Field(
        -MAX_EXACT_INTEGER,
        ge=-MAX_EXACT_INTEGER,
        le=MAX_EXACT_INTEGER,
        description="The lowest score to take; wins over the board's rules.",
    )
    max_score: int = Field(
        MAX_EXACT_INTEGER,
        ge=-MAX_EXACT_INTEGER,
        le=MAX_EXACT_INTEGER,
        description="The highest score to take; wins over the board's rules.",
    )
    boards_max: int = Field(1000, ge=0, le=100_000, description="How many boards there may be beside `main`.")
    metrics_boards: Annotated[tuple[_BoardName, ...], BeforeValidator(_split)] = Field(
        ("main",), max_length=100, description="Boards with series of their own in /metrics, separated by commas."
    )
    queue_reject_length: int = Field(
        500_000, ge=1, description="Length of a region's queue at which writes get 429 queue_full."
    )
    idempotency_ttl_seconds: int = Field(86_400, ge=1, description="How long an Idempotency-Key's answer is kept.")

    @field_validator("user_rate_limit_window")
    @classmethod
    def _check_exactness_of_users(cls, window: int, info: ValidationInfo) -> int:
        if info.data.get("user_rate_limit_count", 0) * window * 1_000_000 > MAX_EXACT_INTEGER:
            raise ValueError("USER_RATE_LIMIT_COUNT: times USER_RATE_LIMIT_WINDOW must stay under 9,000,000,000.")
        return window

    @field_validator("region_rate_limit_per_sec")
    @classmethod
    def _check_exactness_of_regions(cls, limit: int) -> int:
        if limit * 1_000_000 > MAX_EXACT_INTEGER:
            raise ValueError("REGION_RATE_LIMIT_PER_SEC: must stay under 9,000,000,000.")
        return limit

    @field_validator("max_score")
    @classmethod
    def _check_order(cls, highest: int, info: ValidationInfo) -> int:
        if info.data.get("min_score", highest) > highest:
            raise ValueError("MIN_SCORE: must not be above MAX_SCORE.")
        return highest
