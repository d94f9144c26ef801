"""What scores on boards come to, in plain Python: one entry after another, by the rules of its board."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from leaderboard_core.boards import Board, Definition
from leaderboard_core.redis.definitions import restore_definitions
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import MAX_EXACT_INTEGER


@dataclass
class Standing:
    """A player's entry on a board: `reached` counts the moments at which scores were reached."""

    score: int | None = None
    reached: int = 0
    submits: int = 0
    metadata: dict[str, Any] | None = None


@dataclass
class BoardModel:
    """One board, as its rules say that scores change it."""

    board: Board
    standings: dict[str, Standing] = field(default_factory=dict)
    moment: int = 0

    def better(self, score: int, than: int) -> bool:
        return score > than if self.board.rules.order == "desc" else score < than

    def submit(
        self, user_id: str, amount: int, *, adds: bool = False, force: bool = False, metadata: Any = None
    ) -> tuple[str, int | None, int | None]:
        """Submit; returns "" or the code of the refusal, the score that stands then, and the one before."""
        rules, standing = self.board.rules, self.standings.get(user_id, Standing())
        self.moment += 1
        before = standing.score
        if adds and rules.operator == "best":
            return "wrong_operator", None, None
        score = amount
        if adds or (rules.operator == "sum" and not force):
            if rules.max_step is not None and abs(amount) > rules.max_step:
                return "score_out_of_bounds", None, None
            score += before or 0
            if abs(score) > MAX_EXACT_INTEGER:
                return "score_out_of_range", None, None
        if not force and not rules.min_score <= score <= rules.max_score:
            return "score_out_of_bounds", None, None
        if rules.max_submits and not force:
            if standing.submits >= rules.max_submits:
                return "no_submits_left", None, None
            standing.submits += 1
        if metadata is not None and len(json.dumps(metadata, separators=(",", ":"))) > rules.metadata_bytes:
            standing.submits -= bool(rules.max_submits and not force)
            return "metadata_too_large", None, None
        self.standings[user_id] = standing
        if before is None or force or rules.operator != "best" or self.better(score, before):
            if score != before:
                standing.score, standing.reached, standing.metadata = score, self.moment, metadata
            elif metadata is not None:
                standing.metadata = metadata
        return "", standing.score, before

    def order(self) -> list[str]:
        """Return those who stand on the board, best first."""
        sign = -1 if self.board.rules.order == "desc" else 1

        def place(user_id: str) -> tuple[int, int, bytes]:
            standing = self.standings[user_id]
            tied = standing.reached if self.board.rules.ties == "earliest" else 0
            # Behind that the user_id decides, the greater one first.
            return sign * (standing.score or 0), tied, bytes(255 - byte for byte in user_id.encode()) + b"\xff"

        return sorted((one for one, standing in self.standings.items() if standing.score is not None), key=place)


async def define_on(shard_map: ShardMap, boards: Iterable[Board]) -> None:
    """Tell every shard of boards."""
    definitions = [Definition(board) for board in boards]
    for shard in shard_map.shards:
        await restore_definitions(shard, definitions)
