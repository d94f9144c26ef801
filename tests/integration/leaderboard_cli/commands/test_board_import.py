"""Test `leaderboard boards import`: what it brings is read as the plain model says, once however often it comes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leaderboard_core.postgres.databases import RegionDatabases
from tests.integration.worker_service.recovery.test_verify import verified
from tests.support.boards import BoardModel, Standing
from tests.support.command import run_here
from tests.support.entries_on import hashes_on, sets_on
from tests.support.service import Api
from tests.support.worker import EAGER
from worker_service.recovery.rebuild import rebuild

REGIONS = ("ASIA", "EU", "NA", "GLOBAL")
RULES: dict[str, dict[str, Any]] = {
    "kills": {"operator": "sum"},
    "laps": {"operator": "best", "order": "asc", "ties": "earliest", "decimals": 3, "metadata_bytes": 40},
    "level": {"regions": False, "min_score": 0, "max_score": 99},
}
BEGUN = 1_700_000_000_000_000


def iso(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat()


class Elsewhere:
    """Players of another system, as the plain model has them, and the lines that say so."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.models: dict[str, BoardModel] = {}
        self.lines: list[dict[str, Any]] = []

    async def define(self) -> Elsewhere:
        for name, rules in RULES.items():
            assert (await self._api.define(rules, name)).status_code == 201
            self.models[name] = BoardModel(await self._api.services.known_boards.board(name))
        return self

    def stands(self, user_id: str, board: str, score: int, reached: int, **more: Any) -> None:
        self.models[board].standings[user_id] = Standing(score, reached, metadata=more.get("metadata"))
        region = REGIONS[sum(user_id.encode()) % len(REGIONS)]
        line = {"user_id": user_id, "name": user_id.upper(), "region": region, "board": board, "score": score}
        self.lines.append({**line, "reached_at": iso(reached), **more})

    def play(self, chance: random.Random, players: int) -> None:
        for number in range(players):
            for board in self.models:
                if chance.random() < 0.8:
                    more = {"metadata": {"car": number}} if board == "laps" and chance.random() < 0.5 else {}
                    reached = BEGUN + chance.randrange(3) * 1_000_000
                    self.stands(f"p{number}", board, chance.randrange(20), reached, **more)
        chance.shuffle(self.lines)

    async def compare(self) -> None:
        for name, model in self.models.items():
            for region in ("GLOBAL", *(REGIONS[:3] if model.board.rules.regions else ())):
                found = (await self._api.get("/top", board=name, region=region, limit=1000, metadata=True)).json()
                assert [(row["user_id"], row["score"], row.get("metadata")) for row in found["rows"]] == [
                    (user_id, standing.score, standing.metadata)
                    for user_id in model.order()
                    if (standing := model.standings[user_id])
                    and region in ("GLOBAL", REGIONS[sum(user_id.encode()) % len(REGIONS)])
                ], (name, region)


def write(file: Path, lines: Iterable[Mapping[str, Any]]) -> str:
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    return str(file)


async def imported(environ: Mapping[str, str], file: str, *words: str) -> str:
    code, output, complaint = await run_here(environ, "boards", "import", file, *words)
    assert code == 0, output + complaint
    return output


async def refused(environ: Mapping[str, str], file: str, *words: str) -> str:
    code, _, complaint = await run_here(environ, "boards", "import", file, *words)
    assert code == 1
    assert "Traceback" not in complaint
    return complaint


async def test_what_is_imported_is_read_as_the_model_says(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, tmp_path: Path
) -> None:
    elsewhere = await Elsewhere(any_api).define()
    elsewhere.play(random.Random(3), 60)
    file = write(tmp_path / "export.ndjson", elsewhere.lines)
    count = len(elsewhere.lines)
    assert await imported(environ, file, "--dry-run") == f"{count} lines: {count} of new players, 0 of others."
    assert (await any_api.top())["total"] == 0
    assert await imported(environ, file) == f"{count} lines: {count} new."
    await elsewhere.compare()
    shard_map = any_api.services.shard_map
    before = (await hashes_on(shard_map), await sets_on(shard_map), await any_api.scores())
    assert set(before[2].values()) == {0}
    assert (await any_api.get("/rank/p1")).json()["name"] == "P1"

    assert await imported(environ, file) == f"{count} lines: {count} as they were, or newer or better here."
    assert before == (await hashes_on(shard_map), await sets_on(shard_map), await any_api.scores())
    report = await verified(environ, databases)
    assert (report.differences, report.entries) == ([], count)
    for shard in shard_map.shards:
        await shard.client.flushdb()
    for shard in shard_map.shards:
        await rebuild(shard, databases, EAGER)
    assert before == (await hashes_on(shard_map), await sets_on(shard_map), await any_api.scores())
    await elsewhere.compare()
