"""Registration and login."""

from __future__ import annotations

from leaderboard_core.errors import LeaderboardError
from leaderboard_core.metrics import LOGINS
from leaderboard_service.asgi import Call, Reply, json_reply
from leaderboard_service.routes.documented import Route
from leaderboard_service.schemas import LoggedIn, LoginBody, RegisterBody, Registered
from leaderboard_service.scores import Write


async def register(call: Call) -> Reply:
    """Make a player and get a token. The score is on the boards at once."""
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
    token = parts.tokens.issue(player.user_id, player.name, player.region)
    user = {"user_id": player.user_id, "name": player.name, "region": player.region, "score": player.score}
    return json_reply({"ok": True, "token": token, "user": user}, 201)


async def login(call: Call) -> Reply:
    """Get a token for an existing player. An account with a password is entered only with it."""
    body = await call.body(LoginBody)
    parts = call.parts
    region = None if body.region is None else parts.region(body.region)
    try:
        player = await parts.accounts.login(body.user_id, body.name, region, body.password)
    except LeaderboardError as error:
        LOGINS.labels(error.code).inc()
        raise
    LOGINS.labels("ok").inc()
    return json_reply({"token": parts.tokens.issue(player.user_id, player.name, player.region)})


ROUTES = (
    Route(
        "POST",
        "/auth/register",
        register,
        tag="auth",
        body=RegisterBody,
        response=Registered,
        status=201,
        errors=(409, 413, 422, 429, 503),
    ),
    Route(
        "POST",
        "/auth/login",
        login,
        tag="auth",
        body=LoginBody,
        response=LoggedIn,
        errors=(401, 404, 409, 413, 422, 429, 503),
    ),
)
