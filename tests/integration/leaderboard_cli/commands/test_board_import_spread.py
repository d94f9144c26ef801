"""What is imported stands where the file says, as it is read, in Redis and in Postgres, on however many Redis."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from tests.integration.leaderboard_cli.commands.test_board_import import BEGUN, imported, iso, write
from tests.integration.worker_service.importing.test_importer import define, submit
from tests.integration.worker_service.recovery.test_verify import verified
from tests.support.entries_on import hashes_on, sets_on
from tests.support.service import Api
from tests.support.worker import drained, working

REGIONS = ("ASIA", "EU", "NA")
PLAYERS = 90


def home(number: int) -> str:
    return REGIONS[number % len(REGIONS)]


async def test_new_and_known_players_stand_where_the_file_says(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis, tmp_path: Path
) -> None:
    api, chance = any_api, random.Random(11)
    kills = await define(api, "kills", operator="sum")
    laps = await define(api, "laps", operator="best", order="asc", ties="earliest", metadata_bytes=40)
    written: dict[str, int] = {}
    for number in range(0, PLAYERS, 4):  # who is here already: some with a sum of their own, some with a lap
        await submit(api, f"p{number}", "main", 1, home(number))
        if number % 8:
            await submit(api, f"p{number}", "kills", 3, home(number))
        else:
            written[f"p{number}"] = await submit(api, f"p{number}", "laps", 5, home(number))
    async with working(environ, block_seconds=0.05):
        await drained(all_redis)

    lines: list[dict[str, Any]] = []
    total: dict[str, int] = {}
    best: dict[str, tuple[int, int, dict[str, int] | None]] = {}
    for number in range(PLAYERS):
        name, line = f"p{number}", {"user_id": f"p{number}", "region": home(number)}
        score, lap, reached = chance.randrange(100), chance.randrange(10), BEGUN + 1_000_000 * chance.randrange(10**6)
        lines.append({**line, "board": "kills", "score": score})
        lines.append({**line, "board": "laps", "score": lap, "reached_at": iso(reached), "metadata": {"car": number}})
        lines.append({**line, "board": "main", "score": 7})
        total[name] = 3 if number % 8 == 4 else score
        # Who has the same lap here and there keeps the moment that is earlier, and what was said of it there.
        best[name] = (lap, reached, {"car": number})
        if name in written and lap > 5:
            best[name] = (5, written[name], None)
    chance.shuffle(lines)
    file = write(tmp_path / "export.ndjson", lines)
    assert (await imported(environ, file)).startswith(f"{len(lines)} lines: ")

    shard_map = api.services.shard_map

    async def cards() -> dict[str, int]:
        found = [row for region in REGIONS for row in await databases[region].fetch("SELECT * FROM leaderboard")]
        assert all(row["region"] == home(int(row["user_id"][1:])) for row in found)
        return {row["user_id"]: row["score"] for row in found}

    async def compare() -> None:
        in_order = sorted(best, key=lambda name: (best[name][0], best[name][1], name))
        for region in (*REGIONS, "GLOBAL"):
            own = [name for name in in_order if region in ("GLOBAL", home(int(name[1:])))]
            found = (await api.get("/top", board="laps", region=region, limit=1000, metadata=True)).json()
            assert [(row["rank"], row["user_id"], row["score"], row.get("metadata")) for row in found["rows"]] == [
                (rank, name, best[name][0], best[name][2]) for rank, name in enumerate(own, 1)
            ], region
            sums = (await api.get("/top", board="kills", region=region, limit=1000)).json()["rows"]
            assert {row["user_id"]: row["score"] for row in sums} == {name: total[name] for name in own}
            assert [row["rank"] for row in sums] == [
                1 + sum(total[other] > row["score"] for other in own) for row in sums
            ], region
        for name in in_order[:: PLAYERS // 9]:
            answer = (await api.get(f"/rank/{name}", board="laps")).json()
            assert (answer["rank"], answer["total"]) == (in_order.index(name) + 1, PLAYERS)
        for name, (score, _, metadata) in best.items():
            saved = await databases[home(int(name[1:]))].fetch(
                "SELECT board_id, key, metadata FROM entries WHERE user_id = $1 ORDER BY board_id", name
            )
            text = f'{{"car":{metadata["car"]}}}' if metadata else ""
            assert [tuple(row) for row in saved] == [(kills.id, total[name], ""), (laps.id, -score, text)], name
        hashes = await hashes_on(shard_map)
        assert {name: len(own) for name, own in hashes.items()} == dict.fromkeys(best, 2)
        assert await cards() == {name: 1 if int(name[1:]) % 4 == 0 else 7 for name in best}
        report = await verified(environ, databases)
        assert (report.differences, report.players, report.entries) == ([], PLAYERS, 2 * PLAYERS)

    await compare()
    for shard in shard_map.shards:
        assert [key async for key in shard.client.scan_iter(f"{shard.keys.entries('')}*")], "nobody is on it"
    before = (await hashes_on(shard_map), await sets_on(shard_map), await api.scores())
    assert await imported(environ, file) == f"{len(lines)} lines: {len(lines)} as they were, or newer or better here."
    assert before == (await hashes_on(shard_map), await sets_on(shard_map), await api.scores())
    await compare()
