"""Boards are made, changed and taken away while everything runs; many at a time, and no more than there may be."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx

from leaderboard_core.boards import Rules
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.keys import Keys
from tests.conftest import Start
from tests.integration.leaderboard_service.definitions.test_definitions import BEGINNING
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.all_redis import AllRedis
from tests.support.service import Api

LAPS = {"title": "Laps", "operator": "best", "order": "asc", "ties": "earliest", "metadata_bytes": 64}


async def remove(api: Api, board: str) -> httpx.Response:
    return await api.http.delete(f"/boards/{board}", headers={"Authorization": f"Bearer {api.admin_token()}"})


async def names(api: Api) -> list[str]:
    return [board["board"] for board in (await api.get("/boards")).json()["boards"]]


async def test_a_board_is_made_changed_and_taken_away(any_api: Api, all_redis: AllRedis) -> None:
    api = any_api
    made = await api.define(LAPS, "laps")
    now = {"board": "laps", "version": 1, "definition": {**BEGINNING, **LAPS}}
    assert (made.status_code, made.json()) == (201, {"ok": True, **now})
    again = await api.define(dict(reversed(LAPS.items())), "laps")
    assert (again.status_code, again.json()) == (200, {"ok": True, **now})
    counts = {"ASIA": 0, "EU": 0, "NA": 0, "GLOBAL": 0}
    assert (await api.get("/boards/laps")).json() == {**now, "everywhere": True, "entries": counts}
    assert await names(api) == ["laps", "main"]
    assert await all_redis.get("board:laps") == "1 1"
    changed = await api.define({**LAPS, "title": "Rounds", "metadata_bytes": 65, "max_submits": 3}, "laps")
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    assert Rules.decode(str(await all_redis.get("board:laps:rules"))).title == "Rounds"
    gone = await remove(api, "laps")
    assert (gone.status_code, gone.json()) == (200, {"ok": True, "board": "laps"})
    assert await all_redis.get("board:laps") == "1 gone"
    refused(await api.get("/boards/laps"), 404, "board_not_found")
    refused(await remove(api, "laps"), 404, "board_not_found")
    assert await names(api) == ["main"]
    made = await api.define({"order": "desc"}, "laps")
    assert (made.status_code, made.json()["version"]) == (201, 1)
    board_id, _, version = str(await all_redis.get("board:laps")).partition(" ")
    assert int(board_id) > 1
    assert version == "1"


async def test_what_may_not_change_is_named(api: Api) -> None:
    assert (await api.define(LAPS, "laps")).status_code == 201
    for name, value in (("operator", "sum"), ("order", "desc"), ("ties", "shared"), ("regions", False)):
        response = await api.define({**LAPS, name: value}, "laps")
        refused(response, 409, "fixed_field")
        assert response.json()["field"] == name
    response = await api.define({**LAPS, "metadata_bytes": 63}, "laps")
    refused(response, 409, "fixed_field")
    assert response.json()["field"] == "metadata_bytes"
    assert (await api.get("/boards/laps")).json()["version"] == 1


async def test_variables_decide_the_main_board_only(start: Start) -> None:
    api = await start(MIN_SCORE="0", PLAYER_WRITES="false")
    made = await api.define({"min_score": -5, "submit": "player"}, "laps")
    assert (made.status_code, made.json()["definition"]["min_score"]) == (201, -5)
    assert (await api.get("/boards/laps")).json()["definition"]["submit"] == "player"


async def test_players_are_counted_on_each_of_its_rankings(any_api: Api, all_redis: AllRedis) -> None:
    api = any_api
    boards: dict[str, dict[str, Any]] = {"kills": {}, "coins": {"regions": False}}
    for board, rules in boards.items():
        assert (await api.define(rules, board)).status_code == 201
    for user_id, region in (("alice", "EU"), ("bob", "EU"), ("carol", "NA")):
        await api.register(user_id, region)
        shard = all_redis.shard_map.shard_of(region, user_id)
        for name in {shard.keys.entry_set("kills.1:all", region), global_set(shard.keys, "kills.1:all")}:
            await shard.client.zadd(name, {user_id: 5})
        await shard.client.zadd(shard.keys.entry_set("coins.2:all", "GLOBAL"), {user_id: 5})
    assert (await api.get("/boards/kills")).json()["entries"] == {"ASIA": 0, "EU": 2, "NA": 1, "GLOBAL": 3}
    assert (await api.get("/boards/coins")).json()["entries"] == {"GLOBAL": 3}


def global_set(keys: Keys, field: str) -> str:
    """That of the only region is its part of GLOBAL too."""
    return keys.entry_set(field, keys.only_region or "GLOBAL")


async def test_no_more_boards_are_made_than_there_may_be(start: Start, databases: RegionDatabases) -> None:
    """Many at once, by several services: exactly as many are made, each with an id of its own."""
    apis = [await start(BOARDS_MAX="5") for _ in range(3)]
    answers = await asyncio.gather(
        *(apis[number % 3].define({"title": str(number)}, f"board-{number}") for number in range(20))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 5, 409: 15}
    for answer in answers:
        if answer.status_code == 409:
            refused(answer, 409, "too_many_boards")
    made = [name for name in await names(apis[0]) if name != "main"]
    assert len(made) == 5
    assert len(await databases["GLOBAL"].fetch("SELECT DISTINCT id FROM boards WHERE id > 0")) == 5
    # What there is can be changed, and one that is gone makes room.
    assert (await apis[1].define({"title": "x"}, made[0])).status_code == 200
    refused(await apis[1].define({}, "one-more"), 409, "too_many_boards")
    assert (await remove(apis[2], made[0])).status_code == 200
    assert (await apis[1].define({}, "one-more")).status_code == 201
    refused(await apis[0].define({}, made[0]), 409, "too_many_boards")


async def test_a_board_that_many_state_at_once_is_made_once(start: Start, databases: RegionDatabases) -> None:
    apis = [await start(), await start()]
    answers = await asyncio.gather(*(apis[number % 2].define(LAPS, "laps") for number in range(12)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 11}
    assert {answer.json()["version"] for answer in answers} == {1}
    assert await databases["GLOBAL"].fetchval("SELECT count(*) FROM boards WHERE name = 'laps'") == 1
