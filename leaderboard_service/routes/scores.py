"""Score writes: each needs a token and takes an Idempotency-Key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBearer

from leaderboard_core.errors import Forbidden, RegionMismatch
from leaderboard_core.tokens import Identity
from leaderboard_service.http import idempotency, json_response, read_body
from leaderboard_service.routes.documented import IDEMPOTENCY_HEADER, errors
from leaderboard_service.schemas import (
    AddBody,
    Body,
    CreateBody,
    Created,
    ScoreWritten,
    SubmitBody,
    UpdateBody,
    request_body,
)
from leaderboard_service.scores import Operation, Write, Written
from leaderboard_service.state import identity, services

_documented_bearer = HTTPBearer(auto_error=False, description="A token from /auth/register or /auth/login.")
router = APIRouter(tags=["scores"], dependencies=[Depends(_documented_bearer)])


def _described(body: type[Body], *, missing: bool = True) -> dict[str, Any]:
    statuses = (401, 403, 404, 409, 413, 422, 429, 503) if missing else (401, 403, 409, 413, 422, 429, 503)
    return {
        "responses": errors(*statuses),
        "openapi_extra": {**request_body(body), "parameters": [IDEMPOTENCY_HEADER]},
    }


@router.post(
    "/score/create",
    status_code=201,
    response_model=Created,
    openapi_extra={**request_body(CreateBody), "parameters": [IDEMPOTENCY_HEADER]},
    responses={
        **errors(401, 403, 409, 413, 422, 429, 503),
        200: {"model": Created, "description": "The player has a card already; nothing was changed."},
    },
)
async def create(request: Request) -> Response:
    """Make the token's player if it has no card yet."""
    who = _player(request)
    body = await read_body(request, CreateBody)
    region = services(request).region(body.region)
    if region != who.region:
        raise RegionMismatch(region=who.region)
    written = await _write(request, who, "create", body.initialScore, name=who.name)
    card = {"user_id": who.user_id, "name": written.name, "region": written.region, "score": written.score}
    return json_response({"ok": True, "created": written.created, "card": card}, 201 if written.created else 200)


@router.post("/score/update", response_model=ScoreWritten, **_described(UpdateBody))
async def update(request: Request) -> Response:
    """Set the score of the token's player."""
    who = _player(request)
    body = await read_body(request, UpdateBody)
    return _answer(await _write(request, who, "set", body.score))


@router.post("/score/add", response_model=ScoreWritten, **_described(AddBody))
async def add(request: Request) -> Response:
    """Add to the score of the token's player; a negative delta takes away."""
    who = _player(request)
    body = await read_body(request, AddBody)
    return _answer(await _write(request, who, "add", body.delta))


@router.post("/score", response_model=ScoreWritten, **_described(SubmitBody))
async def submit(request: Request) -> Response:
    """Set a score: a player's token for that player only, a server's token for anybody.

    A server's submit makes the player if need be. A name, when given, replaces the stored one.
    """
    who = identity(request)
    body = await read_body(request, SubmitBody)
    parts = services(request)
    region = parts.region(body.region)
    if not who.is_server:
        if body.user_id != who.user_id:
            raise Forbidden("A player's token submits for that player only; use a token with role 'server'.")
        if region != who.region:
            raise RegionMismatch(region=who.region)
    written = await parts.writer.write(
        Write(
            operation="put",
            user_id=body.user_id,
            region=region,
            amount=body.score,
            name=body.name or "",
            request_id=request.scope["request_id"],
            subject=who.user_id,
            idempotency=idempotency(request),
            user_bucket=not who.is_server,
            may_create=who.is_server,
        )
    )
    return _answer(written)


def _player(request: Request) -> Identity:
    who = identity(request)
    if who.is_server:
        raise Forbidden("A server's token speaks for no player; use POST /score.")
    services(request).region(who.region)
    return who


async def _write(request: Request, who: Identity, operation: Operation, amount: int, name: str = "") -> Written:
    return await services(request).writer.write(
        Write(
            operation=operation,
            user_id=who.user_id,
            region=who.region,
            amount=amount,
            name=name,
            request_id=request.scope["request_id"],
            subject=who.user_id,
            idempotency=idempotency(request),
            may_create=operation == "create",
        )
    )


def _answer(written: Written) -> Response:
    return json_response(
        {
            "ok": True,
            "user_id": written.user_id,
            "region": written.region,
            "score": written.score,
            "updated_at": written.updated_at,
        }
    )
