"""A leaderboard in plain Python: what the system must do, as slowly and as clearly as can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST = 2**53 - 1


@dataclass
class Player:
    name: str
    region: str
    score: int


@dataclass
class Model:
    """Players by user_id; writes answer the new score, or the code of the error."""

    players: dict[str, Player] = field(default_factory=dict)

    def register(self, user_id: str, name: str, region: str, score: int) -> int | str:
        if user_id in self.players:
            return "user_exists"
        self.players[user_id] = Player(name, region, score)
        return score

    def create(self, user_id: str, name: str, region: str, score: int) -> int | str:
        player = self.players.get(user_id)
        if player is None:
            self.players[user_id] = Player(name, region, score)
            return score
        return player.score if player.region == region else "region_mismatch"

    def set(self, user_id: str, region: str, score: int) -> int | str:
        player = self.players.get(user_id)
        if player is None:
            return "user_not_found"
        player.score = score
        return score

    def add(self, user_id: str, delta: int) -> int | str:
        player = self.players.get(user_id)
        if player is None:
            return "user_not_found"
        if abs(player.score + delta) > MOST:
            return "score_out_of_range"
        player.score += delta
        return player.score

    def delete(self, user_id: str) -> int | str:
        return "user_not_found" if self.players.pop(user_id, None) is None else 0

    def put(self, user_id: str, name: str | None, region: str, score: int) -> int | str:
        """A server's submit."""
        player = self.players.get(user_id)
        if player is None:
            self.players[user_id] = Player(name or user_id, region, score)
            return score
        if player.region != region:
            return "region_mismatch"
        player.score = score
        player.name = name or player.name
        return score

    def board(self, region: str) -> list[dict[str, Any]]:
        """Every row of a board, ranked."""
        players = [(user_id, p) for user_id, p in self.players.items() if region in ("GLOBAL", p.region)]
        players.sort(key=lambda item: (item[1].score, item[0].encode()), reverse=True)
        return [
            {
                "rank": 1 + sum(other.score > player.score for _, other in players),
                "position": position,
                "user_id": user_id,
                "name": player.name,
                "region": player.region,
                "score": player.score,
            }
            for position, (user_id, player) in enumerate(players, 1)
        ]

    def top(self, region: str, limit: int, offset: int) -> dict[str, Any]:
        """`next_cursor` is whether there is one."""
        rows = self.board(region)
        page = rows[offset : offset + limit]
        return {
            "board": "main",
            "region": region,
            "total": len(rows),
            "rows": page,
            "next_cursor": offset + len(page) < len(rows),
        }

    def range(self, region: str, bounds: dict[str, int]) -> list[dict[str, Any]]:
        """Every row between the bounds of a /range."""
        low, high = bounds.get("min", -MOST), bounds.get("max", MOST)
        first, last = bounds.get("from", 1), bounds.get("to", MOST)
        rows = self.board(region)
        return [row for row in rows if low <= row["score"] <= high and first <= row["rank"] <= last]

    def ranks(self, region: str, user_ids: list[str]) -> dict[str, Any]:
        rows = self.board(region)
        listed = [row for row in rows if row["user_id"] in user_ids]
        known = {row["user_id"] for row in listed}
        return {
            "board": "main",
            "region": region,
            "total": len(rows),
            "rows": [
                {
                    "place": 1 + sum(other["score"] > row["score"] for other in listed),
                    "percentile": share_beaten(row["rank"], len(rows)),
                    **row,
                }
                for row in listed
            ],
            "unknown": list(dict.fromkeys(user_id for user_id in user_ids if user_id not in known)),
        }

    def rank(self, region: str, user_id: str) -> dict[str, Any] | None:
        rows = self.board(region)
        for row in rows:
            if row["user_id"] == user_id:
                kept = {key: row[key] for key in ("rank", "position", "user_id", "name", "score")}
                percentile = share_beaten(row["rank"], len(rows))
                return {
                    "found": True,
                    "board": "main",
                    "region": region,
                    "total": len(rows),
                    "percentile": percentile,
                    **kept,
                }
        return None

    def around(self, region: str, user_id: str, reach: int) -> dict[str, Any] | None:
        rows = self.board(region)
        for place, row in enumerate(rows):
            if row["user_id"] == user_id:
                return {
                    "found": True,
                    "board": "main",
                    "region": region,
                    "total": len(rows),
                    "self": row,
                    "around": rows[max(0, place - reach) : place] + rows[place + 1 : place + 1 + reach],
                }
        return None


def share_beaten(rank: int, total: int) -> float:
    """The percentile of a rank."""
    return 100.0 if total == 1 else round(100 * (total - rank) / (total - 1), 4)
