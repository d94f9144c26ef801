"""Define the boards that players write to besides `main`: one of each operator."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from leaderboard_core.boards import Rules
from leaderboard_core.tokens import Tokens

BOARDS: Mapping[str, Rules] = {
    "coins": Rules(operator="sum", regions=False, max_submits=100_000),
    "laps": Rules(operator="best", order="asc", ties="earliest", metadata_bytes=100),
    "level": Rules(operator="latest"),
}


def places_of(rules: Rules, regions: tuple[str, ...]) -> tuple[str, ...]:
    """Name the rankings that a board has."""
    return regions if rules.regions else ("GLOBAL",)


def define_boards(url: str, tokens: Tokens) -> Mapping[str, Rules]:
    """Define them on a running system."""
    headers = {"Authorization": f"Bearer {tokens.issue('admin-1', 'Administrator', 'GLOBAL', role='admin')}"}
    with httpx.Client(base_url=url, headers=headers, timeout=20) as http:
        for name, rules in BOARDS.items():
            answer = http.put(f"/boards/{name}", content=rules.encode(), headers={"Content-Type": "application/json"})
            assert answer.is_success, answer.text
    return BOARDS
