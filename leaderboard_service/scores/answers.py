"""Writes the answers of score writes, on wish with where the player stands then."""

from __future__ import annotations

import logging
from typing import Any

from leaderboard_core.boards import ALL, Place
from leaderboard_core.errors import LeaderboardError
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_service.boards.service import BoardReads
from leaderboard_service.scores.batches import Outcome
from leaderboard_service.scores.writes import Written

log = logging.getLogger(__name__)


def as_json(written: Written) -> dict[str, Any]:
    return {
        "ok": True,
        "board": written.board.name,
        "user_id": written.user_id,
        "region": written.region,
        "score": written.score,
        "previous": written.previous,
        "improved": written.improved,
        "updated_at": written.updated_at,
    }


def outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    """Return what a batch says of one of its scores."""
    return {"ok": False, **outcome.envelope()} if isinstance(outcome, LeaderboardError) else as_json(outcome)


async def with_ranks(written: Written, reads: BoardReads) -> dict[str, Any]:
    """Say where the player stands as well, if that can be read: the write is done in any case."""
    answer = as_json(written)
    board = written.board
    names = dict.fromkeys((written.region, GLOBAL) if board.rules.regions else (GLOBAL,))
    places = {name: Place(board, ALL, name) for name in names}
    try:
        standings, source = await reads.standings(tuple(places.values()), written.user_id)
    except LeaderboardError as error:
        log.info("a write is answered without ranks", extra={"reason": error.code})
        return answer
    if source != "redis":
        return answer  # what Postgres has is from before the write
    found = {name: standings[place.name] for name, place in places.items()}
    answer["ranks"] = {
        name: {"rank": entry.row.rank, "position": entry.row.position, "total": entry.total}
        for name, entry in found.items()
    }
    return answer
