"""Definitions of boards through the API: who may state them, what is answered, and what stays as it is."""

from __future__ import annotations

from typing import Any

import pytest

from leaderboard_core.boards import Rules
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.settings import MAX_EXACT_INTEGER
from tests.conftest import Start
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.all_redis import AllRedis
from tests.support.service import Api

SEASON = {"title": "Season 3 🎮", "min_score": -5, "max_score": 900, "max_step": 50, "decimals": 2}
BEGINNING: dict[str, Any] = {
    "title": "",
    "operator": "latest",
    "order": "desc",
    "ties": "shared",
    "windows": ["all"],
    "regions": True,
    "min_score": -MAX_EXACT_INTEGER,
    "max_score": MAX_EXACT_INTEGER,
    "max_step": None,
    "max_submits": 0,
    "submit": "player",
    "metadata_bytes": 0,
    "decimals": 0,
    "keep_windows": 400,
    "open": True,
}


async def main(api: Api) -> dict[str, Any]:
    response = await api.get("/boards/main")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_a_board_is_as_it_was_stated_last(any_api: Api) -> None:
    api = any_api
    at_first = {"board": "main", "version": 0, "definition": BEGINNING, "everywhere": True}
    assert await main(api) == {**at_first, "entries": {"ASIA": 0, "EU": 0, "NA": 0, "GLOBAL": 0}}
    assert (await api.get("/boards")).json() == {"boards": [at_first], "next_cursor": None}
    stated = await api.define(SEASON)
    now = {"board": "main", "version": 1, "definition": {**BEGINNING, **SEASON}}
    assert (stated.status_code, stated.json()) == (200, {"ok": True, **now})
    await api.register("alice", "EU", 5)
    await api.register("bob", "NA", 5)
    entries = {"ASIA": 0, "EU": 1, "NA": 1, "GLOBAL": 2}
    assert await main(api) == {**now, "everywhere": True, "entries": entries}
    assert (await api.get("/boards")).json()["boards"] == [{**now, "everywhere": True}]
    assert (await api.get("/boards", cursor="main")).json() == {"boards": [], "next_cursor": None}
    # What is left out is as it was at the beginning.
    assert (await api.define({"open": False})).json()["definition"] == {**BEGINNING, "open": False}
    assert (await main(api))["version"] == 2


async def test_the_same_once_more_changes_nothing_and_repairs(any_api: Api, all_redis: AllRedis) -> None:
    api = any_api
    assert (await api.define(SEASON)).json()["version"] == 1
    assert (await api.define(dict(reversed(SEASON.items())))).json()["version"] == 1
    for shard in all_redis.shard_map.shards:
        assert (
            await shard.client.delete(
                *(shard.keys.prefix + name for name in ("board:main", "board:main:rules", "boards"))
            )
            == 3
        )
    again = await api.define({**SEASON, "windows": ["all"], "keep_windows": 400.0})
    assert (again.status_code, again.json()["version"]) == (200, 1)
    assert await all_redis.get("board:main") == "0 1"
    assert Rules.decode(str(await all_redis.get("board:main:rules"))).max_step == 50


async def test_only_administrators_state_definitions(api: Api) -> None:
    own = await api.register("alice", "EU")
    for token in (own, api.server_token()):
        refused(await api.define(SEASON, token=token), 403, "forbidden")
        headers = {"Authorization": f"Bearer {token}"}
        refused(await api.http.delete("/boards/main", headers=headers), 403, "forbidden")
    refused(await api.http.put("/boards/main", json=SEASON), 401, "missing_token")
    refused(await api.http.delete("/boards/main"), 401, "missing_token")
    assert (await main(api))["version"] == 0


@pytest.mark.parametrize("user_id", ["alice", "ops"])
async def test_an_administrator_speaks_for_no_player_and_writes_for_none(api: Api, user_id: str) -> None:
    await api.register("alice", "EU", 5, password="correct horse battery")
    token = api.tokens.issue(user_id, user_id, "EU", role="admin")
    for path, body in (
        ("/score", {"user_id": "alice", "region": "EU", "score": 9}),
        ("/scores", {"scores": [{"user_id": "alice", "region": "EU", "score": 9}]}),
        ("/score/update", {"score": 9}),
        ("/score/add", {"delta": 9}),
        ("/score/create", {"region": "EU"}),
        ("/users/alice/secret", {}),
    ):
        refused(await api.post(path, body, token=token), 403, "forbidden")
    refused(await api.export("alice", token), 403, "forbidden")
    refused(await api.delete("alice", token), 403, "forbidden")
    headers = {"Authorization": f"Bearer {token}"}
    answer = await api.http.put("/users/alice/password", json={"password": "a long enough one"}, headers=headers)
    refused(answer, 403, "forbidden")
    assert await api.scores() == {"alice": 5}
    assert (await api.http.get("/top", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"min_score": 6, "max_score": 5}, "min_score"),
        ({"min_score": -(2**53)}, "min_score"),
        ({"max_score": 2**53}, "max_score"),
        ({"max_score": "5"}, "max_score"),
        ({"max_step": -1}, "max_step"),
        ({"decimals": 7}, "decimals"),
        ({"open": 1}, "open"),
        ({"title": 5}, "title"),
        ({"title": "a\nb"}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"submit": "everybody"}, "submit"),
        ({"windows": ["day"]}, "windows"),
        ({"windows": "all"}, "windows"),
        ({"windows": []}, "windows"),
        ({"windows": ["all", "day"]}, "windows"),
        ({"metadata_bytes": 2049}, "metadata_bytes"),
        ({"max_submits": -1}, "max_submits"),
        ({"max_submits": 2**31}, "max_submits"),
        ({"keep_windows": -1}, "keep_windows"),
        ({"keep_windows": 1_000_001}, "keep_windows"),
        ({"order": "up"}, "order"),
        ({"min_scor": 5}, "min_scor"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field(api: Api, definition: dict[str, Any], field: str) -> None:
    for board in ("main", "kills"):
        response = await api.define(definition, board)
        refused(response, 422, "invalid_payload")
        assert response.json()["fields"][0]["field"].startswith(field)
    assert (await main(api))["version"] == 0
    refused(await api.get("/boards/kills"), 404, "board_not_found")


async def test_what_cannot_be_changed_is_named(start: Start) -> None:
    api = await start(MIN_SCORE="0")
    for name, value in (("order", "asc"), ("operator", "best"), ("regions", False), ("ties", "earliest")):
        response = await api.define({name: value})
        refused(response, 409, "fixed_field")
        assert response.json()["field"] == name
    response = await api.define({"min_score": 5})
    refused(response, 409, "fixed_field")
    assert (response.json()["field"], response.json()["variable"]) == ("min_score", "MIN_SCORE")
    assert (await main(api))["definition"]["min_score"] == 0
    stated = await api.define({"min_score": 0, "title": "x"})
    assert (stated.json()["version"], stated.json()["definition"]["min_score"]) == (1, 0)


async def test_what_is_no_board(api: Api) -> None:
    refused(await api.get("/boards/kills"), 404, "board_not_found")
    headers = {"Authorization": f"Bearer {api.admin_token()}"}
    refused(await api.http.delete("/boards/kills", headers=headers), 404, "board_not_found")
    refused(await api.http.delete("/boards/main", headers=headers), 409, "main_board")
    for name in ("Main", "-x", "a b", "x" * 64):
        refused(await api.get(f"/boards/{name}"), 422, "invalid_payload")
        refused(await api.define({}, name), 422, "invalid_payload")


@pytest.mark.layout("one-redis", why="it writes as a later version would")
async def test_many_boards_come_in_pages(api: Api, all_redis: AllRedis, databases: RegionDatabases) -> None:
    names = sorted(["main", *(f"board-{number}" for number in range(205))])
    for number, name in enumerate(names):
        if name != "main":
            await all_redis.set(f"board:{name}", f"{number + 1} 1")
            await all_redis.set(f"board:{name}:rules", Rules(title=name).encode())
            await all_redis.sadd("boards", name)
    await all_redis.set("board:board-7", "999 gone")
    found, sizes, cursor = [], [], ""
    while True:
        page = (await api.get("/boards", **({"cursor": cursor} if cursor else {}))).json()
        found += [board["board"] for board in page["boards"]]
        sizes.append(len(page["boards"]))
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [name for name in names if name != "board-7"]
    assert sizes == [100, 100, 5]


async def test_definitions_are_read_while_postgres_is_away_and_while_redis_is(start: Start) -> None:
    nowhere = "postgresql://postgres@127.0.0.1:1/away"
    api = await start()
    assert (await api.define(SEASON)).status_code == 200
    without = await start(
        ready=False, **{f"DATABASE_URL_{region}": nowhere for region in ("ASIA", "EU", "NA", "GLOBAL")}
    )
    for path in ("/boards", "/boards/main"):
        assert (await without.get(path)).status_code == 200
    assert (await main(without))["definition"]["title"] == SEASON["title"]
    refused(await without.define({}), 503, "unavailable")
    away = await start(ready=False, REDIS_URL="redis://127.0.0.1:1/0")
    found = await main(away)
    assert (found["version"], found["definition"]["title"]) == (1, SEASON["title"])
    assert (await away.get("/boards")).json()["boards"][0]["definition"]["title"] == SEASON["title"]
    refused(await away.get("/boards/kills"), 404, "board_not_found")
    stated = await away.define({"title": "Season 4"})
    refused(stated, 503, "not_everywhere")
    assert (stated.json()["version"], "Retry-After" in stated.headers) == (2, True)
