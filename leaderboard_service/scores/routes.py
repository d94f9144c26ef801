"""Serves score writes; each needs a token and takes an Idempotency-Key."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter

from leaderboard_core import calls
from leaderboard_core.errors import (
    BoardClosed,
    BoardNotFound,
    Forbidden,
    ForbiddenOrigin,
    IdempotencyKeyInUse,
    InvalidPayload,
    LeaderboardError,
    MainBoard,
    MetadataTooLarge,
    NoSubmitsLeft,
    QueueFull,
    RateLimited,
    RegionMismatch,
    RegionRateLimited,
    ScoreOutOfBounds,
    ScoreOutOfRange,
    Unavailable,
    UserNotFound,
    WarmingUp,
    WrongOperator,
)
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_service.boards.dependencies import Boards
from leaderboard_service.definitions.dependencies import BoardsKnown
from leaderboard_service.definitions.schemas import BoardName
from leaderboard_service.dependencies import (
    SAME_ORIGIN,
    Caller,
    IdempotencyKey,
    KnownRegions,
    Player,
    RequestId,
)
from leaderboard_service.openapi import BODY_ERRORS, NOT_READ, STORE_ERRORS, TOKEN_ERRORS, Errors, refused_with
from leaderboard_service.schemas import UserId
from leaderboard_service.scores.answers import as_json, outcome_as_json, with_ranks
from leaderboard_service.scores.batches import Outcome
from leaderboard_service.scores.dependencies import Batches, Remover, Writer
from leaderboard_service.scores.items import check_may_submit, check_submits, writes_of
from leaderboard_service.scores.schemas import (
    AddBody,
    BatchBody,
    BatchWritten,
    CreateBody,
    Created,
    EntryRemoved,
    ScoreWritten,
    SubmitBody,
    UpdateBody,
)
from leaderboard_service.scores.writes import Write, player_write, submitted_write

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
_ON_BOARD: Final[Errors] = (UserNotFound, BoardNotFound, NoSubmitsLeft, MetadataTooLarge, *_WRITE)
"""Of a score that may be for any board."""

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
    responses=refused_with(*_ON_BOARD, WrongOperator),
)
async def update_score(
    body: UpdateBody,
    player: Player,
    idempotency: IdempotencyKey,
    writer: Writer,
    boards: BoardsKnown,
    reads: Boards,
    request_id: RequestId,
) -> JSONReply:
    """Set the score of the token's player.

    The new score may be lower than the old one, except on a board that counts the best (`operator`). It counts in the
    ranking of the home region and in GLOBAL. A board that sums takes `/score` and `/score/add` instead.
    """
    board, metadata = await boards.board(body.board), body.metadata_json
    written = await writer.write(
        player_write("update", player, body.score, request_id, idempotency, board=board, metadata=metadata)
    )
    return JSONReply(await with_ranks(written, reads) if body.with_ranks else as_json(written))


@router.post(
    calls.ADD.path,
    response_description="The score as it is now.",
    dependencies=SAME_ORIGIN,
    response_model=ScoreWritten,
    responses=refused_with(*_ON_BOARD, WrongOperator, ScoreOutOfRange),
)
async def add_score(
    body: AddBody,
    player: Player,
    idempotency: IdempotencyKey,
    writer: Writer,
    boards: BoardsKnown,
    reads: Boards,
    request_id: RequestId,
) -> JSONReply:
    """Add to the score of the token's player.

    Additions that arrive at the same time all count. One that would leave ±(2^53-1) is refused and changes nothing.
    Without an Idempotency-Key, an addition whose answer was lost may count twice when you send it again. A board that
    counts the best takes none.
    """
    board, metadata = await boards.board(body.board), body.metadata_json
    written = await writer.write(
        player_write("add", player, body.delta, request_id, idempotency, board=board, metadata=metadata)
    )
    return JSONReply(await with_ranks(written, reads) if body.with_ranks else as_json(written))


@router.post(
    calls.SUBMIT_MANY.path,
    response_description="What became of each score.",
    dependencies=SAME_ORIGIN,
    response_model=BatchWritten,
    responses=refused_with(*TOKEN_ERRORS, Forbidden, ForbiddenOrigin, *NOT_READ, InvalidPayload, *STORE_ERRORS),
)
async def submit_scores(
    body: BatchBody,
    caller: Caller,
    regions: KnownRegions,
    idempotency: IdempotencyKey,
    batches: Batches,
    boards: BoardsKnown,
    request_id: RequestId,
) -> JSONReply:
    """Submit up to 1,000 scores, or with a player's token up to 8 of its own.

    Each sets a score or adds to it, on whichever board it names. A server's token makes players if need be. Each score
    is accepted or refused on its own, so look at `results` also when the status is 200; those of one player count in
    their order. With an Idempotency-Key the request may be repeated as a whole: what was accepted counts once. 503 says
    that none could be taken.
    """
    check_submits(caller)
    checked = await writes_of(body.scores, caller, regions, boards, request_id, idempotency)
    outcomes = iter(await batches.write([one for one in checked if isinstance(one, Write)]))
    results: list[Outcome] = [next(outcomes) if isinstance(one, Write) else one for one in checked]
    refused = [result for result in results if isinstance(result, LeaderboardError)]
    if len(refused) == len(results) and all(isinstance(error, Unavailable | WarmingUp) for error in refused):
        raise refused[0]  # nothing was done, and nothing was wrong with any of them
    return JSONReply(
        {"ok": not refused, "accepted": len(results) - len(refused), "results": list(map(outcome_as_json, results))}
    )


@router.post(
    calls.SUBMIT.path,
    response_description="The score as it is now.",
    dependencies=SAME_ORIGIN,
    response_model=ScoreWritten,
    responses=refused_with(*_ON_BOARD, ScoreOutOfRange),
)
async def submit_score(
    body: SubmitBody,
    caller: Caller,
    regions: KnownRegions,
    idempotency: IdempotencyKey,
    writer: Writer,
    boards: BoardsKnown,
    reads: Boards,
    request_id: RequestId,
) -> JSONReply:
    """Submit a player's score: one's own, or with a server's token anybody's.

    On `main`, and wherever the board's `operator` is `latest`, it is the new score; `best` keeps the better one, and
    `sum` adds it. A player's token submits for that player only. A server's token makes the player if need be, and
    passes the region's limit and the queue's, not the player's.
    """
    region = regions.resolve(body.region)
    check_may_submit(caller, body.user_id, region, force=body.force)
    board = await boards.board(body.board)
    written = await writer.write(
        submitted_write(
            "force" if body.force else "set",
            body.user_id,
            region,
            body.score,
            caller,
            request_id,
            idempotency,
            name=body.name or "",
            board=board,
            metadata=body.metadata_json,
        )
    )
    return JSONReply(await with_ranks(written, reads) if body.with_ranks else as_json(written))


@router.delete(
    calls.REMOVE_ENTRY.path,
    response_description="The player has no entry on the board.",
    dependencies=SAME_ORIGIN,
    response_model=EntryRemoved,
    responses=refused_with(
        *(*TOKEN_ERRORS, Forbidden, ForbiddenOrigin, UserNotFound, BoardNotFound, MainBoard),
        *(InvalidPayload, QueueFull, *STORE_ERRORS),
    ),
)
async def remove_entry(
    board: BoardName, user_id: UserId, caller: Caller, remover: Remover, request_id: RequestId
) -> dict[str, Any]:
    """Take a player's entry off a board.

    With a server's token or an administrator's. A later score makes a new one; submits that are used up stay so.
    The same once more changes nothing.
    """
    if not (caller.is_server or caller.is_admin):
        raise Forbidden("Only a token with role 'server' or 'admin' removes entries.")
    removed = await remover.remove(board, user_id, request_id)
    return {"ok": True, "board": board, "user_id": user_id, "removed": removed}
