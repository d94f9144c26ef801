"""What was answered of a board holds for every replica and on every Redis: that it is there, as it is, or is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_core.boards import Board, Definition, Rules
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.definitions import overtake, read_saved, state
from leaderboard_core.redis.definitions import list_names, read_definition, read_living, read_names, restore_definitions
from tests.conftest import Start, admit
from tests.integration.leaderboard_service.definitions.test_everywhere import Replicas, cut_off, paused, replicas
from tests.integration.leaderboard_service.definitions.test_many_boards import LAPS, names, remove
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.all_redis import AllRedis
from tests.support.proxy import proxy
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import drained, working
from worker_service.recovery.definitions import known_boards

__all__ = ["replicas"]

COINS = {"operator": "sum", "max_step": 9}


async def call(on: Replicas, number: int, method: str, path: str, body: Any = None, role: str = "") -> httpx.Response:
    """Ask one replica, as an administrator or as alice."""
    token = on.tokens.issue("ops", "ops", "GLOBAL", role="admin") if role else on.tokens.issue("alice", "alice", "EU")
    headers = {"Authorization": f"Bearer {token}"}
    return await on.http.request(method, f"{on.services[number].url}{path}", json=body, headers=headers)


async def add(on: Replicas, number: int, delta: int) -> httpx.Response:
    return await call(on, number, "POST", "/score/add", {"delta": delta, "board": "coins"})


async def test_a_service_that_was_paused_knows_each_board_at_its_next_call(replicas: Replicas) -> None:
    card = {"user_id": "alice", "name": "alice", "region": "EU"}
    assert (await replicas.http.post(f"{replicas.services[2].url}/auth/register", json=card)).status_code == 201
    refused(await add(replicas, 2, 5), 404, "board_not_found")
    async with paused(replicas.services[2]):
        assert (await call(replicas, 0, "PUT", "/boards/coins", COINS, "admin")).status_code == 201
    added = await add(replicas, 2, 5)
    assert (added.status_code, added.json()["score"]) == (200, 5)
    async with paused(replicas.services[2]):
        assert (await call(replicas, 1, "PUT", "/boards/coins", {**COINS, "max_step": 3}, "admin")).status_code == 200
    refused(await add(replicas, 2, 4), 422, "score_out_of_bounds")
    async with paused(replicas.services[2]):
        assert (await call(replicas, 1, "DELETE", "/boards/coins", role="admin")).status_code == 200
        waiting = asyncio.create_task(add(replicas, 2, 1))
        refused(await add(replicas, 0, 1), 404, "board_not_found")
    refused(await waiting, 404, "board_not_found")
    found = await replicas.http.get(f"{replicas.services[2].url}/rank/alice?board=coins")
    refused(found, 404, "board_not_found")
    async with paused(replicas.services[2]):
        assert (await call(replicas, 0, "PUT", "/boards/coins", COINS, "admin")).status_code == 201
    fresh = await add(replicas, 2, 7)
    assert (fresh.status_code, fresh.json()["score"]) == (200, 7), "the board is another one"


async def test_a_redis_that_was_away_is_told_of_boards(
    start: Start, layouts: dict[Any, dict[str, str]], redis_2: redis.Redis
) -> None:
    """EU's is: for one service and the worker, and not for the other service."""
    async with proxy(layouts["two-redis"]["REDIS_URL_EU"]) as between:
        environ = {**layouts["two-redis"], "REDIS_URL_EU": between.url}
        near = await start(layout="two-redis")
        far = await start(layout="two-redis", ready=False, REDIS_URL_EU=between.url)
        alice, bob = await near.register("alice", "EU"), await near.register("bob", "ASIA")
        coins = {"delta": 1, "board": "coins"}

        async def everywhere() -> bool:
            response = await near.get("/boards/coins")
            return response.status_code == 200 and bool(response.json()["everywhere"])

        async def gone() -> bool:
            return await redis_2.get("board:coins") == "1 gone"

        async with working(environ, heartbeats=True):
            async with cut_off(between):
                refused(await far.define(COINS, "coins"), 503, "not_everywhere")
                assert (await far.post("/score/add", coins, token=bob)).status_code == 200
                assert not await everywhere()
            await eventually(everywhere, "the worker", seconds=20)
            assert (await near.post("/score/add", coins, token=alice)).status_code == 200
            async with cut_off(between):
                assert (await far.get("/boards/coins")).json()["everywhere"] is False, "who cannot ask does not know"
                refused(await remove(far, "coins"), 503, "not_everywhere")
                refused(await far.post("/score/add", coins, token=bob), 404, "board_not_found")
            await eventually(gone, "the worker", seconds=20)
        refused(await near.post("/score/add", coins, token=alice), 404, "board_not_found")


async def test_a_redis_that_lost_everything_has_the_boards_before_it_opens(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    api = await start()
    token = await api.register("alice", "EU")
    for name in ("coins", "old"):
        assert (await api.define(COINS, name)).status_code == 201
    assert (await api.post("/score/add", {"delta": 5, "board": "coins"}, token=token)).status_code == 200
    assert (await remove(api, "old")).status_code == 200
    async with working(environ):
        await drained(all_redis)
    await all_redis.lose_players()
    await admit(environ, databases)
    assert await all_redis.get("board:coins") == "1 1"
    assert await all_redis.get("board:old") == "2 gone"
    refused(await api.post("/score/add", {"delta": 10, "board": "coins"}, token=token), 422, "score_out_of_bounds")
    refused(await api.post("/score/add", {"delta": 1, "board": "old"}, token=token), 404, "board_not_found")
    assert (await api.post("/score/add", {"delta": 4, "board": "coins"}, token=token)).json()["score"] == 9


@pytest.mark.parametrize("by", ["a PUT", "a worker"])
async def test_what_only_redis_knows_of_boards_comes_back_to_postgres(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis, by: str
) -> None:
    """GLOBAL's database alone was restored, and had lost what was answered since."""
    api, pool = await start(), databases["GLOBAL"]
    for name in ("kept", "gone", "anew", "anew-too"):
        assert (await api.define({**LAPS, "title": name}, name)).status_code == 201
    backup = await pool.fetch("SELECT name, id, version, gone, rules FROM boards WHERE name <> 'kept'")
    for name in ("gone", "anew"):
        assert (await remove(api, name)).status_code == 200
    assert (await api.define(COINS, "anew")).status_code == 201
    await pool.execute("DELETE FROM boards; DELETE FROM dead_boards; ALTER SEQUENCE board_ids RESTART WITH 5")
    for row in backup:
        await pool.execute("INSERT INTO boards (name, id, version, gone, rules) VALUES ($1, $2, $3, $4, $5)", *row)

    if by == "a PUT":
        assert (await api.define({**LAPS, "title": "kept"}, "kept")).status_code == 200
        assert (await api.define({**LAPS, "title": "other"}, "gone")).status_code == 201
        refused(await api.define(LAPS, "anew"), 409, "fixed_field")  # it is that of COINS
    else:

        async def is_back() -> bool:
            rows = await pool.fetch("SELECT name, id, gone FROM boards WHERE id > 0 ORDER BY name")
            return [tuple(row) for row in rows] == [
                *(("anew", 5, False), ("anew-too", 4, False), ("gone", 2, True), ("kept", 1, False))
            ]

        async with working(environ, heartbeats=True):
            await eventually(is_back, seconds=15)
        assert {row["id"] for row in await pool.fetch("SELECT id FROM dead_boards")} == {2, 3}
        rules = await pool.fetchval("SELECT rules FROM boards WHERE name = 'anew'")
        assert Rules.decode(rules).max_step == COINS["max_step"]
    assert (await api.define({}, "new")).status_code == 201
    new = int(str(await all_redis.get("board:new")).split()[0])
    assert new > 5
    assert await all_redis.get("board:kept") == "1 1"


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("lost", [1, 2])
async def test_the_first_new_board_after_a_restore_of_postgres_alone_takes_no_id_that_a_redis_has(
    any_api: Api, databases: RegionDatabases, kept: int, lost: int
) -> None:
    """Before any worker has compared them."""
    pool = databases["GLOBAL"]
    for number in range(kept + lost):
        assert (await any_api.define({}, f"board-{number}")).status_code == 201
    assert (await remove(any_api, f"board-{kept + lost - 1}")).status_code == 200
    await pool.execute(f"DELETE FROM boards WHERE id > {kept}; DELETE FROM dead_boards")
    await pool.execute(f"ALTER SEQUENCE board_ids RESTART WITH {kept + 1}")
    assert (await any_api.define({}, "new")).status_code == 201
    ids = [str(await shard.client.get(shard.keys.definition("new"))) for shard in any_api.services.shard_map.shards]
    assert set(ids) == {f"{kept + lost + 1} 1"}


async def test_a_worker_raises_the_ids_after_a_restore_and_tells_redis_that_do_not_keep_them(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    """A Redis of before this version, and a board whose name nobody has any more."""
    api, pool = await start(), databases["GLOBAL"]
    assert (await api.define({}, "kept")).status_code == 201
    await all_redis.delete("shard:last_board_id")

    async def is_kept() -> bool:
        return await all_redis.get("shard:last_board_id") == "1"

    async with working(environ, heartbeats=True):
        await eventually(is_kept)
    await all_redis.set("shard:last_board_id", "9")

    async def is_raised() -> bool:
        return bool(await pool.fetchval("SELECT last_value = 9 FROM board_ids"))

    async with working(environ, heartbeats=True):
        await eventually(is_raised)


async def test_names_of_boards_that_are_gone_are_not_walked_over(
    any_api: Api, databases: RegionDatabases, environ: dict[str, str]
) -> None:
    """They stay, so that their boards do; lists and whoever restores entries look at the others alone."""
    api, shards = any_api, any_api.services.shard_map.shards
    for name in ("anew", "gone", "laps"):
        assert (await api.define({}, name)).status_code == 201
    for name in ("anew", "gone"):
        assert (await remove(api, name)).status_code == 200
    assert (await api.define({}, "anew")).status_code == 201
    for shard in shards:
        assert await read_names(shard) >= {"anew", "gone", "laps"}
        assert await read_living(shard) == {"anew", "laps"}
        assert await list_names(shard, "", 2) == ["anew", "laps"]
        assert await list_names(shard, "laps", 2) == ["main"]
        there = await known_boards(shard, databases["GLOBAL"], shards)
        assert {board.name for board in there.values()} == {"main", "anew", "laps"}
    await databases["GLOBAL"].execute("DELETE FROM boards WHERE name = 'laps'")
    if len(shards) > 1:
        there = await known_boards(shards[0], databases["GLOBAL"], shards)
        assert {board.name for board in there.values()} == {"main", "anew", "laps"}, "a Redis has it"
    for name in ("anew", "laps"):
        assert (await remove(api, name)).status_code == 200
    assert await names(api) == ["main"]


async def test_a_redis_that_a_version_before_has_told_lists_its_boards(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    """A worker puts their names into order; until then all names are read."""
    api = await start()
    for name in ("kept", "old", "also"):
        assert (await api.define({}, name)).status_code == 201
    assert (await remove(api, "old")).status_code == 200
    await all_redis.delete("shard:boards")
    assert await names(api) == ["also", "kept", "main"]
    shards = api.services.shard_map.shards

    async def in_order() -> bool:
        return all([await read_living(shard) == {"also", "kept"} for shard in shards])

    async with working(environ, heartbeats=True):
        await eventually(in_order)
    assert await names(api) == ["also", "kept", "main"]


async def test_a_version_that_was_stated_meanwhile_is_not_counted_on(databases: RegionDatabases) -> None:
    """A shard has what was stated after somebody read Postgres, and before the same read the shard."""
    pool = databases["GLOBAL"]
    before = (await state(pool, "laps", Rules(), at_most=1)).saved.definition
    now = (await state(pool, "laps", Rules(title="Laps"), at_most=1)).saved.definition
    assert now.board.version == 2
    assert await overtake(pool, before, now) is None
    assert await read_saved(pool, "laps") == (now, False)
    # A restore has taken it back: then the shard's is one that Postgres lost.
    await pool.execute("UPDATE boards SET version = 1 WHERE name = 'laps'")
    overtaken = await overtake(pool, before, now)
    assert overtaken is not None
    assert overtaken.definition.board.version == 3
    assert await overtake(pool, now, now._replace(gone=True)) is not None
    found = await read_saved(pool, "laps")
    assert found is not None
    assert found.definition.gone


async def test_many_states_of_a_board_at_once_count_once_each(any_api: Api, databases: RegionDatabases) -> None:
    api = any_api
    assert (await api.define({}, "laps")).status_code == 201
    answers = await asyncio.gather(*(api.define({"title": str(number)}, "laps") for number in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert await databases["GLOBAL"].fetchval("SELECT version FROM boards WHERE name = 'laps'") == 9
    assert (await api.get("/boards/laps")).json()["version"] == 9
    assert await names(api) == ["laps", "main"]


async def test_a_later_board_that_postgres_has_lost_is_deleted_too(any_api: Api) -> None:
    assert (await any_api.define({}, "kills")).status_code == 201
    for shard in any_api.services.shard_map.shards:
        await restore_definitions(shard, [Definition(Board("kills", 77, 1, Rules()))])
    headers = {"Authorization": f"Bearer {any_api.admin_token()}"}
    assert (await any_api.http.delete("/boards/kills", headers=headers)).status_code == 200
    assert (await any_api.get("/boards/kills")).status_code == 404
    for shard in any_api.services.shard_map.shards:
        found = await read_definition(shard, "kills")
        assert found is not None
        assert found.state == "77 gone"


async def test_a_board_is_shown_while_it_is_being_changed(any_api: Api) -> None:
    stop = asyncio.Event()

    async def change() -> None:
        for number in range(25):
            for board in ("main", "kills"):
                assert (await any_api.define({"title": f"Season {number}"}, board)).status_code in (200, 201)
        stop.set()

    async def look(board: str) -> set[int]:
        seen = set()
        while not stop.is_set():
            seen.add((await any_api.get(f"/boards/{board}")).status_code)
        return seen

    assert (await any_api.define({}, "kills")).status_code == 201
    changing = asyncio.create_task(change())
    seen = await asyncio.gather(*(look(board) for board in ("main", "kills", "main", "kills")))
    await changing
    assert set().union(*seen) <= {200, 503}
