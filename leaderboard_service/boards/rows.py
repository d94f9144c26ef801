"""Turns rows of a board into JSON, for answers and live events alike."""

from __future__ import annotations

from collections.abc import Iterable

from leaderboard_service.boards.ranking import RankedRow


def rows_as_json(rows: Iterable[RankedRow]) -> list[dict[str, str | int]]:
    """Return rows as the API shows them."""
    return [
        {"rank": rank, "user_id": user_id, "name": name, "region": region, "score": score}
        for rank, user_id, name, region, score in rows
    ]
