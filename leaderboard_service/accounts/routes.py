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
from leaderboard_core.tokens import Tokens
from leaderboard_service.accounts.dependencies import AccountService, CurrentVisitor
from leaderboard_service.accounts.schemas import LoggedIn, LoginBody, RegisterBody, Registered
from leaderboard_service.accounts.service import Entered, Proof
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

    The score is on the boards at once. A registration without a `password` answers a `secret`, this once: keep it, it
    logs the player in. Until AUTH_NAME_LOGIN=false, so do `user_id` and `name`, which every board shows: that tells
    players apart and keeps nobody out, so such a token can neither export nor delete the player. AUTH_REQUIRE_PASSWORD
    forbids accounts without a password.

    A registration takes no Idempotency-Key: after a lost answer, try to log in. Registrations of one address are
    limited (REGISTRATION_RATE_LIMIT_COUNT, PASSWORD_RATE_LIMIT_COUNT).
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
    entered = await accounts.register(write, body.password, visitor)
    secret = {} if entered.secret is None else {"secret": entered.secret}
    return {"ok": True, **_token_and_user(entered, tokens), **secret}


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

    With `password` or `secret`, whichever the player has. With neither, `name` must be the stored one: that enters only
    a player that registered itself without a password, and no one where AUTH_NAME_LOGIN=false; such a token can neither
    export nor delete the player.

    Failed tries are limited per account and address (LOGIN_RATE_LIMIT_COUNT) and per account
    (LOGIN_ACCOUNT_RATE_LIMIT_COUNT), passwords per address (PASSWORD_RATE_LIMIT_COUNT).
    """
    region = None if body.region is None else regions.resolve(body.region)
    try:
        proof = Proof(body.name, body.password, body.secret)
        entered = await accounts.login(body.user_id, region, proof, visitor)
    except LeaderboardError as error:
        LOGINS.labels(error.code).inc()
        raise
    LOGINS.labels("ok").inc()
    return _token_and_user(entered, tokens)


def _token_and_user(entered: Entered, tokens: Tokens) -> dict[str, Any]:
    user_id, name, region = (player := entered.player).user_id, player.name, player.region
    token = tokens.issue(user_id, name, region, issued_at=entered.issued_at, method=entered.method)
    return {"token": token, "user": {"user_id": user_id, "name": name, "region": region, "score": player.score}}
