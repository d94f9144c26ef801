"""One player as a whole: all that is kept of it, and its deletion."""

from __future__ import annotations

from leaderboard_core.errors import (
    Forbidden,
    IdempotencyKeyInUse,
    InvalidPayload,
    QueueFull,
    RegionMismatch,
    Unavailable,
    UserNotFound,
)
from leaderboard_service.asgi import Call, Reply, json_reply
from leaderboard_service.boards.ranking import percentile
from leaderboard_service.boards.schemas import UserDeleted, UserExport
from leaderboard_service.openapi import FROM_SOURCE, SOURCE, STORE_ERRORS, TOKEN_ERRORS, Route


async def export(call: Call) -> Reply:
    """Everything that is kept of a player.

    For the player's own token, or a server's. `saved` is the row in Postgres: it is a moment behind.
    """
    who, user_id = call.identity(), call.user_id()
    profile, source = await call.parts.profiles.export(user_id, who)
    player, saved = profile.player, profile.saved
    content = {
        "user": {
            "user_id": user_id,
            "name": player.name,
            "region": player.region,
            "score": player.score,
            "updated_at": player.updated_at,
            "protected": player.protected,
        },
        "ranks": {
            board: {"rank": place.row.rank, "total": place.total, "percentile": percentile(place.row.rank, place.total)}
            for board, place in profile.places.items()
        },
        "account": None if profile.account_saved_at is None else {"created_at": profile.account_saved_at},
        "saved": saved
        and {"name": saved.name, "region": saved.region, "score": saved.score, "updated_at": saved.updated_at},
    }
    return json_reply(content, headers=FROM_SOURCE[source])


async def delete(call: Call) -> Reply:
    """Delete a player for good.

    Its place on the boards, its card, its password and its row are gone, and stay so after a rebuild. Tokens from
    before are dead; the user_id is free again, for a player that begins anew.

    A player who is gone already is 404; with an Idempotency-Key, the first answer is given again.
    """
    who, user_id = call.identity(), call.user_id()
    deleted_at = await call.parts.remover.delete(user_id, who, call.request_id, call.idempotency())
    return json_reply({"ok": True, "user_id": user_id, "deleted_at": deleted_at})


_ERRORS = (*TOKEN_ERRORS, Forbidden, UserNotFound, RegionMismatch, InvalidPayload)

ROUTES = (
    Route(
        "GET",
        "/users/{user_id}",
        export,
        "users",
        UserExport,
        token=True,
        errors=(*_ERRORS, Unavailable),
        answer_headers=SOURCE,
    ),
    Route(
        "DELETE",
        "/users/{user_id}",
        delete,
        "users",
        UserDeleted,
        token=True,
        errors=(*_ERRORS, IdempotencyKeyInUse, QueueFull, *STORE_ERRORS),
    ),
)
