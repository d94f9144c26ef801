"""Write the input of wrk's scripts: players, tokens and batches, in files of a folder."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from leaderboard_core.settings import AuthSettings
from leaderboard_core.tokens import Tokens

BATCH_ITEMS = 500
BATCHES = 60
TOKENS = 2_000
READ_PLAYERS = 20_000
TOKEN_SECONDS = 86_400

# As `benchmarks.recovery.players_of`, made in Postgres: at 10,000,000 some ten players of each score.
FILL = """
INSERT INTO leaderboard (user_id, name, region, score)
SELECT lower($2) || '-' || lpad(number::text, 8, '0'), 'Player ' || number, $2::text, (number * 7919) % 1000003
FROM generate_series(0, $1::bigint - 1) AS number
"""


def player_id(regions: Sequence[str], players: int, place: int) -> str:
    """Return the user_id that `benchmarks.recovery.players_of` gives the player number `place`."""
    share = players // len(regions)
    region, number = regions[place % len(regions)], place // len(regions) % max(share, 1)
    return f"{region.lower()}-{number:08d}"


def write_material(folder: Path, auth: AuthSettings, regions: Sequence[str], players: int) -> None:
    """Choose players at random (always the same ones), sign their tokens, and write every file."""
    chance = random.Random(20)
    count = players // len(regions) * len(regions)

    def chosen(most: int) -> list[int]:
        return chance.sample(range(count), min(most, count))

    tokens = Tokens(auth)
    readers = [player_id(regions, players, place) for place in chosen(READ_PLAYERS)]
    writers = []
    for place in chosen(TOKENS):
        region = regions[place % len(regions)]
        writers.append(tokens.issue(player_id(regions, players, place), "Bench", region, ttl_seconds=TOKEN_SECONDS))
    batches = []
    for _ in range(BATCHES):
        places = chosen(BATCH_ITEMS)
        items = [
            {"user_id": player_id(regions, players, place), "region": regions[place % len(regions)], "delta": 1}
            for place in places
        ]
        batches.append(json.dumps({"scores": items}, separators=(",", ":")))
    server = tokens.issue("bench", "bench", "GLOBAL", role="server", ttl_seconds=TOKEN_SECONDS)
    files = {"players": readers, "tokens": writers, "batches": batches, "server_token": [server]}
    for name, lines in files.items():
        path = folder / f"{name}.txt"
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        path.chmod(0o600)
