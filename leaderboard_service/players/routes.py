"""Serves one player as a whole: the export of all that is kept, and the deletion."""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query

from leaderboard_core import calls
from leaderboard_core.errors import (
    Forbidden,
    ForbiddenOrigin,
    IdempotencyKeyInUse,
    InvalidPayload,
    QueueFull,
    RegionMismatch,
    Unavailable,
    UserNotFound,
)
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_service.boards.ranking import percentile
from leaderboard_service.boards.source_header import ANSWERED, reply_from
from leaderboard_service.dependencies import SAME_ORIGIN, Caller, IdempotencyKey, RequestId
from leaderboard_service.openapi import STORE_ERRORS, TOKEN_ERRORS, Errors, refused_with
from leaderboard_service.players.dependencies import EntriesOfPlayer, PlayerDeletion, PlayerExport
from leaderboard_service.players.schemas import EntriesQuery, PlayerOnBoards, UserDeleted, UserExport
from leaderboard_service.players.standings import entry_as_json
from leaderboard_service.schemas import UserId

_ERRORS: Final[Errors] = (*TOKEN_ERRORS, Forbidden, UserNotFound, RegionMismatch, InvalidPayload)

_NOT_KEPT: Final = (b"cache-control", b"no-store")
"""What is one player's stays in no browser and no proxy."""

router = APIRouter(tags=["users"], route_class=CompiledRoute)


@router.get(
    calls.EXPORT.path,
    response_description="All that is kept.",
    response_model=UserExport,
    responses=ANSWERED | refused_with(*_ERRORS, Unavailable),
)
async def export_player(user_id: UserId, caller: Caller, exporter: PlayerExport) -> JSONReply:
    """Everything that is kept of a player.

    For the player's own token, or a server's. `saved` is the row in Postgres: it is a moment behind.
    """
    exported, source = await exporter.export(user_id, caller)
    player, saved = exported.player, exported.saved
    content = {
        "user": {
            "user_id": user_id,
            "name": player.name,
            "region": player.region,
            "score": player.score,
            "updated_at": player.updated_at,
            "protected": player.protected,
            "has_secret": bool(player.credential.secret_hash),
            "submits": player.submits,
            "metadata": orjson.loads(player.metadata) if player.metadata else None,
        },
        "ranks": {
            board: {"rank": entry.row.rank, "total": entry.total, "percentile": percentile(entry.row.rank, entry.total)}
            for board, entry in exported.ranks.items()
        },
        "entries": list(map(entry_as_json, exported.entries)),
        "account": None if exported.account_saved_at is None else {"created_at": exported.account_saved_at},
        "saved": saved
        and {"name": saved.name, "region": saved.region, "score": saved.score, "updated_at": saved.updated_at},
    }
    return reply_from(source, content, _NOT_KEPT)


@router.get(
    calls.ENTRIES.path,
    response_description="A page of entries.",
    response_model=PlayerOnBoards,
    responses=ANSWERED | refused_with(UserNotFound, InvalidPayload, Unavailable),
)
async def list_entries(user_id: UserId, query: Annotated[EntriesQuery, Query()], entries: EntriesOfPlayer) -> JSONReply:
    """Where a player stands on every board.

    A hundred boards a page, `main` first and the others by name; pages go on with `cursor`. As any read of boards it
    needs no token.
    """
    page, source = await entries.page(user_id, query.cursor)
    content = {
        "user_id": user_id,
        "name": page.card.name,
        "region": page.card.region,
        "entries": list(map(entry_as_json, page.entries)),
        "next_cursor": page.next_cursor,
    }
    return reply_from(source, content)


@router.delete(
    calls.DELETE.path,
    response_description="The player is gone.",
    dependencies=SAME_ORIGIN,
    response_model=UserDeleted,
    responses=refused_with(*_ERRORS, ForbiddenOrigin, IdempotencyKeyInUse, QueueFull, *STORE_ERRORS),
)
async def delete_player(
    user_id: UserId, caller: Caller, idempotency: IdempotencyKey, deleter: PlayerDeletion, request_id: RequestId
) -> dict[str, Any]:
    """Delete a player for good.

    Its place on the boards, its card, its password and its row are gone, and stay so after a rebuild. Tokens from
    before are dead; the user_id is free again, for a player that begins anew.

    A player who is gone already is 404; with an Idempotency-Key, the first answer is given again.
    """
    deleted_at = await deleter.delete(user_id, caller, request_id, idempotency)
    return {"ok": True, "user_id": user_id, "deleted_at": deleted_at}
