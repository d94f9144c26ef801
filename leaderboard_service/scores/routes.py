"""Serves score writes; each needs a token and takes an Idempotency-Key."""

from __future__ import annotations

import logging
from typing import Any, Final

from fastapi import APIRouter

from leaderboard_core import calls
from leaderboard_core.boards import MAIN, Place
from leaderboard_core.errors import (
    BoardClosed,
    Forbidden,
    ForbiddenOrigin,
    IdempotencyKeyInUse,
    InvalidPayload,
    LeaderboardError,
    QueueFull,
    RateLimited,
    RegionMismatch,
    RegionRateLimited,
    ScoreOutOfBounds,
    ScoreOutOfRange,
    Unavailable,
    UserNotFound,
    WarmingUp,
)
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_service.boards.dependencies import Boards
from leaderboard_service.boards.service import BoardReads
from leaderboard_service.dependencies import (
    SAME_ORIGIN,
    Caller,
    IdempotencyKey,
    KnownRegions,
    Player,
    RequestId,
    ServerToken,
)
from leaderboard_service.openapi import BODY_ERRORS, NOT_READ, STORE_ERRORS, TOKEN_ERRORS, Errors, refused_with
from leaderboard_service.scores.batches import Outcome, write_of
from leaderboard_service.scores.dependencies import Batches, Writer
from leaderboard_service.scores.schemas import (
    AddBody,
    BatchBody,
    BatchWritten,
    CreateBody,
    Created,
    ScoreWritten,
    SubmitBody,
    UpdateBody,
)
from leaderboard_service.scores.service import Write, Written, player_write

_WRITE: Final[Errors] = (
    *TOKEN_ERRORS,
    Forbidden,
    ForbiddenOrigin,
    RegionMismatch,
    BoardClosed,
    *BODY_ERRORS,
    ScoreOutOfBounds,
    IdempotencyKeyInUse,
    RateLimited,
    RegionRateLimited,
    QueueFull,
    *STORE_ERRORS,
)
_EXISTING: Final[Errors] = (UserNotFound, *_WRITE)

log = logging.getLogger(__name__)

router = APIRouter(tags=["scores"], route_class=CompiledRoute)


@router.post(
    calls.CREATE.path,
    response_description="A new card.",
    dependencies=SAME_ORIGIN,
    status_code=201,
    response_model=Created,
    responses=refused_with(*_WRITE)
    | {200: {"model": Created, "description": "The player has a card already; nothing was changed."}},
)
async def create_card(
    body: CreateBody,
    player: Player,
    regions: KnownRegions,
    idempotency: IdempotencyKey,
    writer: Writer,
    request_id: RequestId,
) -> JSONReply:
    """Put the token's player on the boards, unless it is there.

    For a player whose token was made without a registration. One that is there already is answered as it stands, with
    200, and nothing is changed.
    """
    region = regions.resolve(body.region)
    if region != player.region:
        raise RegionMismatch(region=player.region)
    written = await writer.write(
        player_write("create", player, body.initialScore, request_id, idempotency, name=player.name)
    )
    card = {"user_id": player.user_id, "name": written.name, "region": written.region, "score": written.score}
    return JSONReply({"ok": True, "created": written.created, "card": card}, 201 if written.created else 200)


@router.post(
    calls.UPDATE.path,
    response_description="The score as it is now.",
    dependencies=SAME_ORIGIN,
    response_model=ScoreWritten,
    responses=refused_with(*_EXISTING),
)
async def update_score(
    body: UpdateBody, player: Player, idempotency: IdempotencyKey, writer: Writer, reads: Boards, request_id: RequestId
) -> JSONReply:
    """Set the score of the token's player.

    The new score may be lower than the old one. It counts on the board of the home region and on GLOBAL.
    """
    written = await writer.write(player_write("set", player, body.score, request_id, idempotency))
    return JSONReply(await _with_ranks(written, reads) if body.with_ranks else _written(written))


@router.post(
    calls.ADD.path,
    response_description="The score as it is now.",
    dependencies=SAME_ORIGIN,
    response_model=ScoreWritten,
    responses=refused_with(*_EXISTING, ScoreOutOfRange),
)
async def add_score(
    body: AddBody, player: Player, idempotency: IdempotencyKey, writer: Writer, reads: Boards, request_id: RequestId
) -> JSONReply:
    """Add to the score of the token's player.

    Additions that arrive at the same time all count. One that would leave ±(2^53-1) is refused and changes nothing.
    Without an Idempotency-Key, an addition whose answer was lost may count twice when you send it again.
    """
    written = await writer.write(player_write("add", player, body.delta, request_id, idempotency))
    return JSONReply(await _with_ranks(written, reads) if body.with_ranks else _written(written))


@router.post(
    calls.SUBMIT_MANY.path,
    response_description="What became of each score.",
    dependencies=SAME_ORIGIN,
    response_model=BatchWritten,
    responses=refused_with(*TOKEN_ERRORS, Forbidden, ForbiddenOrigin, *NOT_READ, InvalidPayload, *STORE_ERRORS),
)
async def submit_scores(
    body: BatchBody,
    caller: ServerToken,
    regions: KnownRegions,
    idempotency: IdempotencyKey,
    batches: Batches,
    request_id: RequestId,
) -> JSONReply:
    """Set or add to up to 1,000 scores with a server's token.

    Players are made if need be. Each score is accepted or refused on its own, so look at `results` also when the
    status is 200; those of one player count in their order. With an Idempotency-Key the request may be repeated as a
    whole: what was accepted counts once. 503 says that none could be
    taken.
    """
    results: dict[int, Outcome] = {}
    indexes, writes = [], []
    for index, fields in enumerate(body.scores):
        key = idempotency.of_item(index) if idempotency else None
        try:
            writes.append(write_of(fields, caller, regions, request_id, key))
        except LeaderboardError as error:
            results[index] = error
        else:
            indexes.append(index)
    results.update(zip(indexes, await batches.write(writes), strict=True))
    refused = [result for result in results.values() if isinstance(result, LeaderboardError)]
    if len(refused) == len(results) and all(isinstance(error, Unavailable | WarmingUp) for error in refused):
        raise refused[0]  # nothing was done, and nothing was wrong with any of them
    return JSONReply(
        {
            "ok": not refused,
            "accepted": len(results) - len(refused),
            "results": [
                {"ok": False, **result.envelope()} if isinstance(result, LeaderboardError) else _written(result)
                for _, result in sorted(results.items())
            ],
        }
    )


@router.post(
    calls.SUBMIT.path,
    response_description="The score as it is now.",
    dependencies=SAME_ORIGIN,
    response_model=ScoreWritten,
    responses=refused_with(*_EXISTING),
)
async def submit_score(
    body: SubmitBody,
    caller: Caller,
    regions: KnownRegions,
    idempotency: IdempotencyKey,
    writer: Writer,
    reads: Boards,
    request_id: RequestId,
) -> JSONReply:
    """Set a player's score: one's own, or with a server's token anybody's.

    A player's token submits for that player only. A server's token makes the player if need be, and passes the
    region's limit and the queue's, not the player's.
    """
    region = regions.resolve(body.region)
    if not caller.is_server:
        if body.user_id != caller.user_id or not caller.is_player:
            raise Forbidden("A player's token submits for that player only; use a token with role 'server'.")
        if region != caller.region:
            raise RegionMismatch(region=caller.region)
    written = await writer.write(
        Write(
            operation="set",
            user_id=body.user_id,
            region=region,
            amount=body.score,
            name=body.name or "",
            request_id=request_id,
            subject=caller.user_id,
            idempotency=idempotency,
            user_bucket=not caller.is_server,
            may_create=caller.is_server,
            issued_at=None if caller.is_server else caller.issued_at,
        )
    )
    return JSONReply(await _with_ranks(written, reads) if body.with_ranks else _written(written))


def _written(written: Written) -> dict[str, Any]:
    return {
        "ok": True,
        "board": MAIN.name,
        "user_id": written.user_id,
        "region": written.region,
        "score": written.score,
        "previous": written.previous,
        "improved": written.improved,
        "updated_at": written.updated_at,
    }


async def _with_ranks(written: Written, reads: BoardReads) -> dict[str, Any]:
    """Say where the player stands as well, if that can be read: the write is done in any case."""
    answer = _written(written)
    places = tuple(map(Place.on_main, dict.fromkeys((written.region, GLOBAL))))
    try:
        standings, source = await reads.standings(places, written.user_id)
    except LeaderboardError as error:
        log.info("a write is answered without ranks", extra={"reason": error.code})
        return answer
    if source != "redis":
        return answer  # what Postgres has is from before the write
    answer["ranks"] = {
        name: {"rank": entry.row.rank, "position": entry.row.position, "total": entry.total}
        for name, entry in standings.items()
    }
    return answer
