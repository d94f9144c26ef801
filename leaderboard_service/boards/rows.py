"""Turns rows of a board into JSON, for answers and live events alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from leaderboard_core.boards import Board
from leaderboard_service.boards.ranking import Metadata, RankedRow


def rows_as_json(
    board: Board, rows: Sequence[RankedRow], metadata: Metadata | None = None
) -> list[dict[str, str | int | Any]]:
    """Return rows of a board as the API shows them: with the user_id and the score that member and key stand for.

    Their metadata too unless that is None.
    """
    digits, negated = board.tie_digits, board.sign < 0
    shown: list[dict[str, str | int | Any]] = [
        {
            "rank": rank,
            "position": position,
            "user_id": member[digits:] if digits else member,
            "name": name,
            "region": region,
            "score": -key if negated else key,
        }
        for rank, position, member, name, region, key in rows
    ]
    if board.rules.decimals or metadata is not None:
        for row, one in zip(rows, shown, strict=True):
            one.update(more_of(board, row.key, row.member, metadata))
    return shown


def has_metadata(board: Board, *, wanted: bool) -> bool:
    """Whether rows of a board are shown with metadata: only one that keeps any has some to show."""
    return wanted and board.rules.metadata_bytes > 0


def more_of(board: Board, key: int, member: str, metadata: Metadata | None) -> dict[str, Any]:
    """Return what some boards say of a row beside its score: how that is shown, and what was sent with it."""
    more: dict[str, Any] = {}
    if board.rules.decimals:
        more["score_text"] = score_text(board.sign * key, board.rules.decimals)
    if metadata is not None:
        text = metadata.get(member)
        more["metadata"] = None if text is None else orjson.loads(text)
    return more


def score_text(score: int, decimals: int) -> str:
    """Write a score with that many of its digits behind a point."""
    whole, behind = divmod(abs(score), 10**decimals)
    return f"{'-' if score < 0 else ''}{whole}.{behind:0{decimals}d}"
