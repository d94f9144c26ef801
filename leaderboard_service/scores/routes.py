"""Score writes: each needs a token and takes an Idempotency-Key."""

from __future__ import annotations

from typing import Any

from leaderboard_core.errors import (
    Forbidden,
    IdempotencyKeyInUse,
    InvalidPayload,
    LeaderboardError,
    PayloadTooLarge,
    QueueFull,
    RateLimited,
    RegionMismatch,
    RegionRateLimited,
    ScoreOutOfRange,
    Unavailable,
    UserNotFound,
    WarmingUp,
)
from leaderboard_core.tokens import Identity
from leaderboard_service.asgi import Call, Reply, checked, json_reply
from leaderboard_service.openapi import BODY_ERRORS, STORE_ERRORS, TOKEN_ERRORS, Errors, Route
from leaderboard_service.schemas import (
    AddBody,
    BatchBody,
    BatchItem,
    BatchWritten,
    CreateBody,
    Created,
    ScoreWritten,
    SubmitBody,
    UpdateBody,
)
from leaderboard_service.scores.batches import Outcome
from leaderboard_service.scores.service import Idempotency, Operation, Write, Written


async def create(call: Call) -> Reply:
    """Put the token's player on the boards, unless it is there.

    For a player whose token was made without a registration. One that is there already is answered as it stands, with
    200, and nothing is changed.
    """
    who = call.player()
    body = await call.body(CreateBody)
    region = call.parts.region(body.region)
    if region != who.region:
        raise RegionMismatch(region=who.region)
    written = await _write(call, who, "create", body.initialScore, name=who.name)
    card = {"user_id": who.user_id, "name": written.name, "region": written.region, "score": written.score}
    return json_reply({"ok": True, "created": written.created, "card": card}, 201 if written.created else 200)


async def update(call: Call) -> Reply:
    """Set the score of the token's player.

    The new score may be lower than the old one. It counts on the board of the home region and on GLOBAL.
    """
    who = call.player()
    body = await call.body(UpdateBody)
    return _answer(await _write(call, who, "set", body.score))


async def add(call: Call) -> Reply:
    """Add to the score of the token's player.

    Additions that arrive at the same time all count. One that would leave ±(2^53-1) is refused and changes nothing.
    Without an Idempotency-Key, an addition whose answer was lost may count twice when you send it again.
    """
    who = call.player()
    body = await call.body(AddBody)
    return _answer(await _write(call, who, "add", body.delta))


async def submit(call: Call) -> Reply:
    """Set a player's score: one's own, or with a server's token anybody's.

    A player's token submits for that player only. A server's token makes the player if need be, and passes the
    region's limit and the queue's, not the player's.
    """
    who = call.identity()
    body = await call.body(SubmitBody)
    region = call.parts.region(body.region)
    if not who.is_server:
        if body.user_id != who.user_id:
            raise Forbidden("A player's token submits for that player only; use a token with role 'server'.")
        if region != who.region:
            raise RegionMismatch(region=who.region)
    written = await call.parts.writer.write(
        Write(
            operation="set",
            user_id=body.user_id,
            region=region,
            amount=body.score,
            name=body.name or "",
            request_id=call.request_id,
            subject=who.user_id,
            idempotency=call.idempotency(),
            user_bucket=not who.is_server,
            may_create=who.is_server,
            issued_at=None if who.is_server else who.issued_at,
        )
    )
    return _answer(written)


async def submit_many(call: Call) -> Reply:
    """Set or add to up to 1,000 scores with a server's token.

    Players are made if need be. Each score is accepted or refused on its own, so look at `results` also when the
    status is 200; those of one player count in their order. With an Idempotency-Key the request may be repeated as a
    whole: what was accepted counts once. 503 says that none could be
    taken.
    """
    who = call.identity()
    if not who.is_server:
        raise Forbidden("Only a token with role 'server' submits batches.")
    body = await call.body(BatchBody)
    idempotency = call.idempotency()
    results: dict[int, Outcome] = {}
    places, writes = [], []
    for place, fields in enumerate(body.scores):
        key = idempotency.of_item(place) if idempotency else None
        try:
            writes.append(_batch_write(call, who, fields, key))
        except LeaderboardError as error:
            results[place] = error
        else:
            places.append(place)
    results.update(zip(places, await call.parts.batches.write(writes), strict=True))
    refused = [result for result in results.values() if isinstance(result, LeaderboardError)]
    if len(refused) == len(results) and all(isinstance(error, Unavailable | WarmingUp) for error in refused):
        raise refused[0]  # nothing was done, and nothing was wrong with any of them
    return json_reply(
        {
            "ok": not refused,
            "accepted": len(results) - len(refused),
            "results": [
                {"ok": False, **result.envelope()} if isinstance(result, LeaderboardError) else _written(result)
                for _, result in sorted(results.items())
            ],
        }
    )


def _batch_write(call: Call, who: Identity, fields: dict[str, Any], idempotency: Idempotency | None) -> Write:
    item = checked(BatchItem, fields)
    return Write(
        operation="add" if item.score is None else "set",
        user_id=item.user_id,
        region=call.parts.region(item.region),
        amount=item.amount,
        name=item.name or "",
        request_id=call.request_id,
        subject=who.user_id,
        idempotency=idempotency,
        user_bucket=False,
        may_create=True,
    )


async def _write(call: Call, who: Identity, operation: Operation, amount: int, name: str = "") -> Written:
    return await call.parts.writer.write(
        Write(
            operation=operation,
            user_id=who.user_id,
            region=who.region,
            amount=amount,
            name=name,
            request_id=call.request_id,
            subject=who.user_id,
            idempotency=call.idempotency(),
            issued_at=who.issued_at,
        )
    )


def _answer(written: Written) -> Reply:
    return json_reply(_written(written))


def _written(written: Written) -> dict[str, Any]:
    return {
        "ok": True,
        "user_id": written.user_id,
        "region": written.region,
        "score": written.score,
        "updated_at": written.updated_at,
    }


_WRITE: Errors = (
    *TOKEN_ERRORS,
    Forbidden,
    RegionMismatch,
    *BODY_ERRORS,
    IdempotencyKeyInUse,
    RateLimited,
    RegionRateLimited,
    QueueFull,
    *STORE_ERRORS,
)
_EXISTING: Errors = (UserNotFound, *_WRITE)

ROUTES = (
    Route(
        "POST",
        "/score/create",
        create,
        tag="scores",
        token=True,
        body=CreateBody,
        response=Created,
        status=201,
        errors=_WRITE,
        other_responses={200: {"model": Created, "description": "The player has a card already; nothing was changed."}},
    ),
    Route("POST", "/score/update", update, "scores", ScoreWritten, token=True, body=UpdateBody, errors=_EXISTING),
    Route(
        "POST",
        "/score/add",
        add,
        "scores",
        ScoreWritten,
        token=True,
        body=AddBody,
        errors=(*_EXISTING, ScoreOutOfRange),
    ),
    Route(
        "POST",
        "/scores",
        submit_many,
        tag="scores",
        token=True,
        body=BatchBody,
        response=BatchWritten,
        errors=(*TOKEN_ERRORS, Forbidden, PayloadTooLarge, InvalidPayload, *STORE_ERRORS),
    ),
    Route("POST", "/score", submit, "scores", ScoreWritten, token=True, body=SubmitBody, errors=_EXISTING),
)
