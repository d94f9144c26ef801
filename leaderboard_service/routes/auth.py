"""Registration and login."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from leaderboard_service.http import json_response, read_body
from leaderboard_service.routes.documented import errors
from leaderboard_service.schemas import LoggedIn, LoginBody, RegisterBody, Registered, request_body
from leaderboard_service.scores import Write
from leaderboard_service.state import services

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post(
    "/register",
    status_code=201,
    response_model=Registered,
    responses=errors(409, 413, 422, 429, 503),
    openapi_extra=request_body(RegisterBody),
)
async def register(request: Request) -> Response:
    """Make a player and get a token. The score is on the boards at once."""
    body = await read_body(request, RegisterBody)
    parts = services(request)
    region = parts.region(body.region)
    write = Write(
        operation="register",
        user_id=body.user_id,
        region=region,
        amount=body.initialScore,
        name=body.name,
        request_id=request.scope["request_id"],
        user_bucket=False,
    )
    player = await parts.accounts.register(write, body.password)
    token = parts.tokens.issue(player.user_id, player.name, player.region)
    user = {"user_id": player.user_id, "name": player.name, "region": player.region, "score": player.score}
    return json_response({"ok": True, "token": token, "user": user}, 201)


@router.post(
    "/login",
    response_model=LoggedIn,
    responses=errors(401, 404, 409, 413, 422, 429, 503),
    openapi_extra=request_body(LoginBody),
)
async def login(request: Request) -> Response:
    """Get a token for an existing player. An account with a password is entered only with it."""
    body = await read_body(request, LoginBody)
    parts = services(request)
    region = None if body.region is None else parts.region(body.region)
    player = await parts.accounts.login(body.user_id, body.name, region, body.password)
    return json_response({"token": parts.tokens.issue(player.user_id, player.name, player.region)})
