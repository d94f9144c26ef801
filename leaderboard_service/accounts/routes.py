"""Serves registration and login."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from leaderboard_core import calls
from leaderboard_core.errors import (
    ForbiddenOrigin,
    InvalidCredentials,
    LeaderboardError,
    QueueFull,
    RateLimited,
    RegionMismatch,
    RegionRateLimited,
    UserExists,
    UserNotFound,
)
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_core.telemetry.metrics import LOGINS
from leaderboard_service.accounts.dependencies import AccountService, CurrentVisitor
from leaderboard_service.accounts.schemas import LoggedIn, LoginBody, RegisterBody, Registered
from leaderboard_service.dependencies import SAME_ORIGIN, KnownRegions, RequestId, TokenIssuer
from leaderboard_service.openapi import BODY_ERRORS, STORE_ERRORS, refused_with
from leaderboard_service.scores.service import Write

router = APIRouter(tags=["auth"], route_class=CompiledRoute)


@router.post(
    calls.REGISTER.path,
    dependencies=SAME_ORIGIN,
    status_code=201,
    response_model=Registered,
    responses=refused_with(
        UserExists, ForbiddenOrigin, *BODY_ERRORS, RateLimited, RegionRateLimited, QueueFull, *STORE_ERRORS
    ),
)
async def register(
    body: RegisterBody,
    accounts: AccountService,
    tokens: TokenIssuer,
    regions: KnownRegions,
    request_id: RequestId,
    visitor: CurrentVisitor,
) -> dict[str, Any]:
    """Register a player and get a token.

    The score is on the boards at once. A registration without a `password` makes an account that anybody enters who
    knows `user_id` and `name`; AUTH_REQUIRE_PASSWORD forbids such accounts. A registration takes no Idempotency-Key:
    after a lost answer, try to log in. Registrations of one address are limited (REGISTRATION_RATE_LIMIT_COUNT,
    PASSWORD_RATE_LIMIT_COUNT).
    """
    write = Write(
        operation="register",
        user_id=body.user_id,
        region=regions.resolve(body.region),
        amount=body.initialScore,
        name=body.name,
        request_id=request_id,
        user_bucket=False,
    )
    player = await accounts.register(write, body.password, visitor)
    token = tokens.issue(player.user_id, player.name, player.region, issued_at=player.updated_at)
    user = {"user_id": player.user_id, "name": player.name, "region": player.region, "score": player.score}
    return {"ok": True, "token": token, "user": user}


@router.post(
    calls.LOGIN.path,
    dependencies=SAME_ORIGIN,
    response_model=LoggedIn,
    responses=refused_with(
        InvalidCredentials, UserNotFound, RegionMismatch, ForbiddenOrigin, *BODY_ERRORS, RateLimited, *STORE_ERRORS
    ),
)
async def login(
    body: LoginBody, accounts: AccountService, tokens: TokenIssuer, regions: KnownRegions, visitor: CurrentVisitor
) -> dict[str, Any]:
    """Log in: get a token for an existing player.

    `name` must be the stored one, and an account with a password is entered only with it. Failed tries are limited
    per account and address (LOGIN_RATE_LIMIT_COUNT) and per account (LOGIN_ACCOUNT_RATE_LIMIT_COUNT), passwords per
    address (PASSWORD_RATE_LIMIT_COUNT).
    """
    region = None if body.region is None else regions.resolve(body.region)
    try:
        player = await accounts.login(body.user_id, body.name, region, body.password, visitor)
    except LeaderboardError as error:
        LOGINS.labels(error.code).inc()
        raise
    LOGINS.labels("ok").inc()
    # Later than any deletion before this player was made, also when the clock has stepped back since.
    issued_at = max(player.read_at, player.updated_at)
    return {"token": tokens.issue(player.user_id, player.name, player.region, issued_at=issued_at)}
