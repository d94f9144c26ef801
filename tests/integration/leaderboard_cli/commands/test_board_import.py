"""Test `leaderboard boards import`: what it brings is read as the plain model says, once however often it comes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from tests.integration.worker_service.importing.test_importer import scores_on, submit
from tests.integration.worker_service.recovery.test_verify import verified
from tests.support.boards import BoardModel, Standing
from tests.support.command import run_here
from tests.support.entries_on import hashes_on, sets_on
from tests.support.service import Api
from tests.support.worker import EAGER, drained, rows, working
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


async def test_what_is_newer_or_better_here_stays(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis, tmp_path: Path
) -> None:
    api = any_api
    await Elsewhere(api).define()
    boards = {"main": 7, "kills": 7, "level": 7, "laps": 7}
    for board, score in boards.items():
        written = await submit(api, "ann", board, score)
    worse = [{"user_id": "ann", "board": board, "score": 9} for board in boards]
    file = write(tmp_path / "export.ndjson", [*worse, {"user_id": "bob", "board": "laps", "score": 9, "region": "EU"}])

    async def standing() -> dict[str, int]:
        return {board: (await scores_on(api, board))["ann"] for board in boards}

    assert await imported(environ, file) == "5 lines: 1 new, 4 as they were, or newer or better here."
    assert await standing() == boards
    async with working(environ, block_seconds=0.1):
        await drained(all_redis)
    assert await imported(environ, file) == "5 lines: 5 as they were, or newer or better here."
    assert (await verified(environ, databases)).differences == []

    # It was so after that, elsewhere: a later state replaces an earlier one, and of laps the better stays.
    later = ("--as-of", iso(written + 1))
    assert await imported(environ, file, *later) == "5 lines: 3 changed, 2 as they were, or newer or better here."
    assert await standing() == {"main": 9, "kills": 9, "level": 9, "laps": 7}
    better = write(tmp_path / "better.ndjson", [{"user_id": "ann", "board": "laps", "score": 5}])
    assert await imported(environ, better) == "1 lines: 1 changed."
    await submit(api, "ann", "kills", 1)
    assert await imported(environ, file, *later) == "5 lines: 5 as they were, or newer or better here."
    assert await standing() == {"main": 9, "kills": 10, "level": 9, "laps": 5}
    async with working(environ, block_seconds=0.1):
        await drained(all_redis)
    assert await imported(environ, file, *later) == "5 lines: 5 as they were, or newer or better here."
    assert await standing() == {"main": 9, "kills": 10, "level": 9, "laps": 5}
    assert (await verified(environ, databases)).differences == []


async def test_of_equal_scores_the_earliest_stays_ahead(any_api: Api, environ: dict[str, str], tmp_path: Path) -> None:
    assert (await any_api.define({"ties": "earliest", "metadata_bytes": 9}, "level")).status_code == 201
    line = {"region": "EU", "board": "level", "score": 5}
    lines = [{**line, "user_id": name, "reached_at": iso(BEGUN + at)} for name, at in (("a", 2), ("b", 1), ("c", 3))]
    await imported(environ, write(tmp_path / "a", [{**one, "metadata": {"x": 1}} for one in lines]))
    assert list(await scores_on(any_api, "level")) == ["b", "a", "c"]
    await submit(any_api, "d", "level", 5)
    await submit(any_api, "a", "level", 5)
    later = [{**one, "reached_at": iso(BEGUN + 9_000_000)} for one in lines]
    await imported(environ, write(tmp_path / "b", later))
    found = (await any_api.get("/top", board="level", limit=9, metadata=True)).json()["rows"]
    assert [(row["user_id"], row["rank"]) for row in found] == [("b", 1), ("a", 2), ("c", 3), ("d", 4)]
    assert [row.get("metadata") for row in found] == [{"x": 1}] * 3 + [None]


async def test_whoever_was_deleted_since_stays_deleted(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis, tmp_path: Path
) -> None:
    api = any_api
    await Elsewhere(api).define()
    lines = [{"user_id": "ann", "region": "EU", "board": board, "score": 3} for board in ("main", "kills", "laps")]
    file = write(tmp_path / "export.ndjson", lines)
    assert await imported(environ, file) == "3 lines: 3 new."
    assert (await api.delete("ann", api.server_token())).status_code == 200
    said = "3 lines: 3 of players who were deleted here since."
    assert await imported(environ, file) == said  # while Postgres does not know of it
    async with working(environ, block_seconds=0.1):
        await drained(all_redis)
    assert await imported(environ, file) == said
    assert (await api.get("/rank/ann")).status_code == 404
    assert await rows(databases) == {}
    for shard in api.services.shard_map.shards:  # when only Postgres knows of it
        await shard.client.delete(shard.keys.tombstone("ann"))
    assert await imported(environ, file) == said
    assert [await scores_on(api, board) for board in ("kills", "laps")] == [{}, {}]

    now = iso(await api.services.shard_map.shards[0].now())
    last = write(tmp_path / "last.ndjson", [{"user_id": "ann", "region": "NA", "board": "kills", "score": 4}])
    assert await imported(environ, last, "--as-of", now) == "1 lines: 1 new."
    assert (await scores_on(api, "kills"), (await api.get("/rank/ann")).json()["score"]) == ({"ann": 4}, 0)
    assert await imported(environ, file) == said
    assert (await verified(environ, databases)).differences == []


async def test_the_home_of_a_new_player_holds_for_all_lines_behind(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, tmp_path: Path
) -> None:
    """However many lines are between: pages are held against the players, and taken, several at once."""
    await Elsewhere(any_api).define()
    names = [f"p{number}" for number in range(4100)]
    first = [{"user_id": name, "region": "EU", "board": "level", "score": 1} for name in names]
    again: list[dict[str, Any]] = [{"user_id": name, "board": "main", "score": 7} for name in names]
    moved = [{**again[0], "region": "NA"}]
    file = write(tmp_path / "moved.ndjson", [*first, *again, *moved])
    said = await refused(environ, file)
    assert "line 8201: region: p0 is at home in EU already, and players do not move" in said
    assert "1 of 8201 lines cannot be taken, and nothing was changed." in said
    assert await any_api.scores() == {}
    file = write(tmp_path / "export.ndjson", [*first, *again])
    assert await imported(environ, file) == "8200 lines: 4100 new, 4100 changed."
    assert set((await any_api.scores("EU")).values()) == {7}
    assert (await imported(environ, file)).startswith("8200 lines: 8200 as they were")
    assert (await verified(environ, databases)).differences == []


async def test_lines_that_cannot_be_taken_are_named(any_api: Api, environ: dict[str, str], tmp_path: Path) -> None:
    await Elsewhere(any_api).define()
    await submit(any_api, "ann", "main", 5, "EU")
    good = {"user_id": "bob", "region": "NA", "score": 3}
    file = tmp_path / "export.ndjson"
    write(file, [good, {**good, "score": "3"}, {**good, "user_id": "ann"}, {**good, "user_id": ".."}])
    with file.open("a") as lines:
        lines.write("\nnothing\n")
        lines.write(
            json.dumps({"user_id": "new", "score": 1}) + "\n" + json.dumps({"user_id": "ann", "score": 6}) + "\n"
        )
    for words in (("--board", "level"), ("--board", "level", "--dry-run")):
        said = await refused(environ, str(file), *words)
        for one in (
            'line 2: score: "3" is no number',
            "line 3: region: ann is at home in EU already, and players do not move",
            "line 4: user_id: must not be '.' or '..', which URLs lose",
            "line 6: is no JSON",
            "line 7: region: is missing, and so is --region for players who are new",
            "5 of 7 lines cannot be taken, and nothing was changed. --skip-bad leaves them out.",
        ):
            assert one in said
    assert await scores_on(any_api, "level") == {}
    assert await imported(environ, str(file), "--board", "level", "--skip-bad") == "7 lines: 2 new, 5 left out."
    assert await scores_on(any_api, "level") == {"ann": 6, "bob": 3}
    others: dict[tuple[str, ...], str] = {
        ("--board", "gone"): "--board: there is none of the name gone",
        ("--region", "MARS"): "--region: MARS is none of ASIA, ",
        ("--as-of", "2200-01-01T00:00:00Z"): "--as-of: 2200-01-01T00:00:00Z is in the future.",
        (): "line 1: board: is missing, and so is --board for lines that name none",
    }
    for given, one in others.items():
        assert one in await refused(environ, str(file), *given)
    assert "cannot be read" in await refused(environ, str(tmp_path / "nowhere"))


async def test_an_import_leaves_accounts_as_they_are(
    api: Api, environ: dict[str, str], all_redis: redis.Redis, tmp_path: Path
) -> None:
    await api.register("pia", "EU", 10, password="a long password")
    secret = (await api.try_register("sam", "EU")).json()["secret"]
    later = iso(await api.services.shard_map.shards[0].now())
    file = write(tmp_path / "a", [{"user_id": name, "region": "EU", "score": 99} for name in ("pia", "sam", "tom")])
    said = "3 lines: 1 new, 2 changed."
    assert await imported(environ, file, "--board", "main", "--as-of", later) == said
    async with working(environ, block_seconds=0.1):
        await drained(all_redis)
    assert await api.scores("EU") == {"pia": 99, "sam": 99, "tom": 99}
    assert (await api.post("/auth/login", {"user_id": "pia", "password": "a long password"})).status_code == 200
    assert (await api.post("/auth/login", {"user_id": "pia", "name": "pia"})).status_code == 401
    assert (await api.post("/auth/login", {"user_id": "sam", "secret": secret})).status_code == 200
    # Whoever an operator makes logs in with a secret that a server asks for.
    assert (await api.post("/auth/login", {"user_id": "tom", "name": "tom"})).status_code == 401
    assert (await api.post("/users/tom/secret", {}, token=api.server_token())).status_code == 200
