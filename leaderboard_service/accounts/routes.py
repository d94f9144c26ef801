"""Registration and login."""

from __future__ import annotations

from leaderboard_core.errors import (
    InvalidCredentials,
    LeaderboardError,
    QueueFull,
    RateLimited,
    RegionMismatch,
    RegionRateLimited,
    UserExists,
    UserNotFound,
)
from leaderboard_core.telemetry.metrics import LOGINS
from leaderboard_service.asgi import Call, Reply, json_reply
from leaderboard_service.openapi import BODY_ERRORS, STORE_ERRORS, Route
from leaderboard_service.schemas import LoggedIn, LoginBody, RegisterBody, Registered
from leaderboard_service.scores.service import Write


async def register(call: Call) -> Reply:
    """Register a player and get a token.

    The score is on the boards at once. A registration without a `password` makes an account that anybody enters who
    knows `user_id` and `name`; AUTH_REQUIRE_PASSWORD forbids such accounts. A registration takes no Idempotency-Key:
    after a lost answer, try to log in.
    """
    body = await call.body(RegisterBody)
    parts = call.parts
    write = Write(
        operation="register",
        user_id=body.user_id,
        region=parts.region(body.region),
        amount=body.initialScore,
        name=body.name,
        request_id=call.request_id,
        user_bucket=False,
    )
    player = await parts.accounts.register(write, body.password)
    token = parts.tokens.issue(player.user_id, player.name, player.region, issued_at=player.updated_at)
    user = {"user_id": player.user_id, "name": player.name, "region": player.region, "score": player.score}
    return json_reply({"ok": True, "token": token, "user": user}, 201)


async def login(call: Call) -> Reply:
    """Log in: get a token for an existing player.

    `name` must be the stored one, and an account with a password is entered only with it. Failed tries are limited
    per account (LOGIN_RATE_LIMIT_COUNT).
    """
    body = await call.body(LoginBody)
    parts = call.parts
    region = None if body.region is None else parts.region(body.region)
    try:
        player = await parts.accounts.login(body.user_id, body.name, region, body.password)
    except LeaderboardError as error:
        LOGINS.labels(error.code).inc()
        raise
    LOGINS.labels("ok").inc()
    # Later than any deletion before this player was made, also when the clock has stepped back since.
    issued_at = max(player.seen_at, player.updated_at)
    return json_reply({"token": parts.tokens.issue(player.user_id, player.name, player.region, issued_at=issued_at)})


ROUTES = (
    Route(
        "POST",
        "/auth/register",
        register,
        tag="auth",
        body=RegisterBody,
        response=Registered,
        status=201,
        errors=(UserExists, *BODY_ERRORS, RegionRateLimited, QueueFull, *STORE_ERRORS),
    ),
    Route(
        "POST",
        "/auth/login",
        login,
        tag="auth",
        body=LoginBody,
        response=LoggedIn,
        errors=(InvalidCredentials, UserNotFound, RegionMismatch, *BODY_ERRORS, RateLimited, *STORE_ERRORS),
    ),
)
