"""Turns rows of a board into JSON, for answers and live events alike."""

from __future__ import annotations

from collections.abc import Iterable

from leaderboard_core.boards import Board
from leaderboard_service.boards.ranking import RankedRow


def rows_as_json(board: Board, rows: Iterable[RankedRow]) -> list[dict[str, str | int]]:
    """Return rows of a board as the API shows them: with the user_id and the score that member and key stand for."""
    digits, sign = board.tie_digits, board.sign
    return [
        {
            "rank": rank,
            "position": position,
            "user_id": member[digits:],
            "name": name,
            "region": region,
            "score": sign * key,
        }
        for rank, position, member, name, region, key in rows
    ]
