"""How rows of a board stand in JSON, in answers and in live events alike."""

from __future__ import annotations

from collections.abc import Iterable

from leaderboard_service.boards.ranking import RankedRow


def shown(rows: Iterable[RankedRow]) -> list[dict[str, str | int]]:
    """Rows as the API shows them."""
    return [
        {"rank": rank, "user_id": user_id, "name": name, "region": region, "score": score}
        for rank, user_id, name, region, score in rows
    ]
