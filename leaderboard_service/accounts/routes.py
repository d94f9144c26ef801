"""Serves registration, login, and the change of a password or secret."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from leaderboard_core import calls
from leaderboard_core.errors import (
    BoardClosed,
    Forbidden,
    ForbiddenOrigin,
    InvalidCredentials,
    InvalidPayload,
    LeaderboardError,
    QueueFull,
    RateLimited,
    RegionMismatch,
    RegionRateLimited,
    ScoreOutOfBounds,
    UserExists,
    UserNotFound,
)
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_core.telemetry.exposition import count_from_zero
from leaderboard_core.telemetry.metrics import LOGINS
from leaderboard_core.tokens import Tokens
from leaderboard_service.accounts.dependencies import AccountService, Changes, CurrentVisitor
from leaderboard_service.accounts.schemas import (
    LoggedIn,
    LoginBody,
    NewSecret,
    PasswordSet,
    RegisterBody,
    Registered,
    SetPasswordBody,
)
from leaderboard_service.accounts.service import Entered, Proof
from leaderboard_service.dependencies import SAME_ORIGIN, Caller, KnownRegions, OptionalCaller, RequestId, TokenIssuer
from leaderboard_service.openapi import BODY_ERRORS, NOT_READ, STORE_ERRORS, TOKEN_ERRORS, refused_with
from leaderboard_service.schemas import UserId
from leaderboard_service.scores.writes import Write

router = APIRouter(tags=["auth"], route_class=CompiledRoute)

count_from_zero(LOGINS, ("ok", InvalidCredentials.code, UserNotFound.code, RateLimited.code))


@router.post(
    calls.REGISTER.path,
    response_description="The new player, and its token.",
    dependencies=SAME_ORIGIN,
    status_code=201,
    response_model=Registered,
    responses=refused_with(
        *(UserExists, BoardClosed, Forbidden, ForbiddenOrigin),
        *BODY_ERRORS,
        *(ScoreOutOfBounds, RateLimited, RegionRateLimited, QueueFull),
        *STORE_ERRORS,
    ),
)
async def register_player(
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
    return {"ok": True, **_token_and_user(entered, tokens), "secret": entered.secret}


@router.post(
    calls.LOGIN.path,
    response_description="A token, and the player.",
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


@router.put(
    calls.SET_PASSWORD.path,
    response_description="The password counts from now on.",
    openapi_extra={"security": [{}]},  # or without a token
    dependencies=SAME_ORIGIN,
    response_model=PasswordSet,
    responses=refused_with(
        *TOKEN_ERRORS,
        *(InvalidCredentials, Forbidden, ForbiddenOrigin, UserNotFound, RegionMismatch),
        *(*NOT_READ, InvalidPayload, RateLimited, RegionRateLimited, QueueFull),
        *STORE_ERRORS,
    ),
)
async def set_password(
    user_id: UserId,
    body: SetPasswordBody,
    changes: Changes,
    caller: OptionalCaller,
    visitor: CurrentVisitor,
    request_id: RequestId,
) -> dict[str, Any]:
    """Give a player its first password, or another one.

    A server's token needs nothing more: that is how support helps who has forgotten one. A player sends the
    `old_password`, and needs no token then. The first password takes the `secret`; only a player who has none sets it
    with a token, which must not be one got by a name.
    """
    proof = Proof(password=body.old_password, secret=body.secret)
    await changes.set_password(user_id, body.password, proof, caller, visitor, request_id)
    return {"ok": True, "user_id": user_id}


@router.post(
    calls.NEW_SECRET.path,
    response_description="The secret, this once.",
    dependencies=SAME_ORIGIN,
    response_model=NewSecret,
    responses=refused_with(
        *TOKEN_ERRORS,
        *(Forbidden, ForbiddenOrigin, UserNotFound, InvalidPayload, RegionRateLimited, QueueFull),
        *STORE_ERRORS,
    ),
)
async def new_secret(user_id: UserId, caller: Caller, changes: Changes, request_id: RequestId) -> dict[str, Any]:
    """Get a new secret of a player, for a game server.

    It is answered this once, and the one before is worth nothing from then on: for players that the server made, and
    for who has lost theirs. The server hands it to whom it knows to be that player.
    """
    return {"secret": await changes.new_secret(user_id, caller, request_id)}


def _token_and_user(entered: Entered, tokens: Tokens) -> dict[str, Any]:
    user_id, name, region = (player := entered.player).user_id, player.name, player.region
    token = tokens.issue(user_id, name, region, issued_at=entered.issued_at, method=entered.method)
    return {"token": token, "user": {"user_id": user_id, "name": name, "region": region, "score": player.score}}
