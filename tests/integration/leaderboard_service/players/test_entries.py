"""Where a player stands on every board: over HTTP, from both stores, against sorting."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import redis.asyncio as redis

from leaderboard_core.boards import ALL, Board, Definition, Place, Rules
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.keys import GLOBAL
from leaderboard_service.boards.ranking import percentile
from tests.conftest import Start
from tests.integration.leaderboard_service.boards.test_board_parameter import BOARDS, as_json, tell
from tests.integration.leaderboard_service.boards.test_places import Entry, as_answered, fill, players_of, save
from tests.support.all_redis import AllRedis
from tests.support.service import Api
from tests.support.worker import drained, working


def expected(board: Board, entries: list[Entry], entry: Entry) -> dict[str, Any]:
    """What is to be said of one entry, by sorting."""
    by_id = {one.user_id: one for one in entries}
    ranks: dict[str, dict[str, float]] = {}
    shown: dict[str, Any] = {}
    for region in (entry.region, GLOBAL) if board.rules.regions else (GLOBAL,):
        rows = as_answered(entries, Place(board, ALL, region))
        (own,) = [row for row in rows if board.user_id_of(row.member) == entry.user_id]
        ranks[region] = {"rank": own.rank, "position": own.position, "total": len(rows)}
        ranks[region]["percentile"] = percentile(own.rank, len(rows))
        shown = as_json(own, board, by_id, metadata=True)
    kept: dict[str, Any] = {name: shown[name] for name in ("score", "score_text", "metadata") if name in shown}
    return {"board": board.name, **kept, "submits": 0, "ranks": ranks}


def without_times(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: entry[name] for name in entry if name != "updated_at"} for entry in page["entries"]]


async def put_on_main(api: Api, databases: RegionDatabases, entries: list[Entry]) -> None:
    """Give the players that were put on boards their cards, and nobody else."""
    await databases["EU"].execute("DELETE FROM leaderboard WHERE user_id = 'away'")
    for number, entry in enumerate(entries):
        shard = api.services.shard_map.shard_of(entry.region, entry.user_id)
        card: Any = {"score": number, "updated_at": 5}
        await shard.client.hset(shard.keys.user(entry.user_id), mapping=card)
        for region in (entry.region, GLOBAL):
            await shard.client.zadd(shard.keys.board(region), {entry.user_id: number})
        await databases[entry.region].execute(
            "UPDATE leaderboard SET score = $2, updated_at = TIMESTAMP 'epoch' + INTERVAL '5 microseconds' "
            "WHERE user_id = $1",
            *(entry.user_id, number),
        )


async def test_a_player_on_every_board(any_api: Api, databases: RegionDatabases) -> None:
    flat = Board("flat", 30, 1, Rules(regions=False, order="asc"))
    boards = sorted([*BOARDS, flat, Board("aaa", 31, 1, Rules())], key=lambda board: board.name)
    await tell(any_api, *map(Definition, boards))
    for board in boards:
        entries = await fill(any_api.services.shard_map, board, random.Random(1))
        await databases[GLOBAL].execute(
            "INSERT INTO boards (name, id, version, rules) VALUES ($1, $2, 1, $3)",
            *(board.name, board.id, board.rules.encode()),
        )
    await save(databases, boards, players_of(random.Random(1)))
    await put_on_main(any_api, databases, entries)
    main = {entry.user_id: replace(entry, score=number) for number, entry in enumerate(entries)}
    for source in ("redis", "postgres"):
        for entry in entries[::20]:
            response = await any_api.get(f"/users/{entry.user_id}/entries")
            page = response.json()
            assert response.headers["x-leaderboard-source"] == source
            head = (page["user_id"], page["name"], page["region"], page["next_cursor"])
            assert head == (entry.user_id, entry.user_id.upper(), entry.region, None)
            of_main, *others = without_times(page)
            assert of_main == expected(Board("main", 0, 0, Rules()), list(main.values()), main[entry.user_id])
            assert others == [expected(board, entries, entry) for board in boards]
            assert page["entries"][0]["updated_at"] == 5
            if source == "redis":
                assert page["entries"][1]["updated_at"] == entry.reached_at
            exported = (await any_api.export(entry.user_id)).json()
            assert exported["entries"] == page["entries"][1:]
        away = await any_api.get("/users/nobody/entries")
        assert (away.status_code, away.json()["error"]) == (404, "user_not_found")
        for shard in any_api.services.shard_map.shards:
            await shard.client.flushdb()


async def test_boards_that_are_gone_are_left_out_and_made_anew_they_are_others(any_api: Api) -> None:
    boards = [
        Board(name, number, 1, Rules()) for number, name in enumerate(("kept", "gone", "anew", "untold"), start=5)
    ]
    await any_api.register("a0", "EU", 1)
    for board in boards:
        await fill(any_api.services.shard_map, board, random.Random(1))
    kept, gone, anew, _ = boards
    await tell(any_api, *map(Definition, (kept, gone, anew)))
    await tell(any_api, Definition(gone, gone=True), Definition(anew, gone=True))
    await tell(any_api, Definition(Board("anew", 99, 1, Rules())))
    player = next(entry for entry in players_of(random.Random(1)))
    shard = any_api.services.shard_map.shard_of(player.region, player.user_id)
    card: Any = {"score": 1, "updated_at": 5}
    await shard.client.hset(shard.keys.user(player.user_id), mapping=card)
    for region in (player.region, GLOBAL):
        await shard.client.zadd(shard.keys.board(region), {player.user_id: 1})
    page = (await any_api.get(f"/users/{player.user_id}/entries")).json()
    assert [entry["board"] for entry in page["entries"]] == ["main", "kept"]


async def test_entries_say_how_many_submits_were_taken(
    start: Start, environ: dict[str, str], all_redis: AllRedis, databases: RegionDatabases
) -> None:
    api = await start()
    assert (await api.define({"max_submits": 2})).status_code == 200
    assert (await api.define({"max_submits": 3, "operator": "best"}, "tries")).status_code == 201
    token = await api.register("ann", "EU", 0)
    for score in (5, 4):  # the second one counts, and changes nothing else
        await api.post("/score/update", {"score": score, "board": "tries"}, token=token)
    assert (await api.post("/score/update", {"score": 7}, token=token)).status_code == 200
    async with working(environ):
        await drained(all_redis)
    for source in ("redis", "postgres"):
        answer = await api.get("/users/ann/entries")
        assert answer.headers["x-leaderboard-source"] == source
        taken = {entry["board"]: (entry["score"], entry["submits"]) for entry in answer.json()["entries"]}
        assert taken == {"main": (7, 1), "tries": (5, 2)}
        (exported,) = (await api.export("ann", token)).json()["entries"]
        assert (exported["board"], exported["submits"]) == ("tries", 2)
        await all_redis.flushdb()


async def test_a_thousand_boards_come_in_pages_of_few_calls(
    api: Api, redis_1: redis.Redis, databases: RegionDatabases
) -> None:
    del databases
    token = await api.register("ann", "EU", 3)
    names = [f"board-{number:03}" for number in range(250)]
    boards = [Board(name, number, 1, Rules(decimals=number % 2)) for number, name in enumerate(names, start=1)]
    async with redis_1.pipeline() as pipe:
        for board in boards:
            place = Place(board, ALL, "EU")
            pipe.set(f"board:{board.name}", Definition(board).state)
            pipe.set(f"board:{board.name}:rules", board.rules.encode())
            pipe.hset("entries:ann", place.entry_field, f"{board.id} - 7 0 0 0")
            for region in ("EU", GLOBAL):
                pipe.zadd(f"leaderboard:{place.in_region(region).name}", {"ann": board.id, "bob": 9})
        await pipe.execute()
    await api.get("/users/ann/entries")  # loads the scripts
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        before = (await redis_1.info("commandstats"))["cmdstat_evalsha"]["calls"]
        response = await api.get("/users/ann/entries", **cursor)
        page = response.json()
        assert (await redis_1.info("commandstats"))["cmdstat_evalsha"]["calls"] - before <= 4
        found += [entry["board"] for entry in page["entries"]]
        if page["next_cursor"] is None:
            break
        assert len(page["entries"]) == 100
        cursor = {"cursor": page["next_cursor"]}
    assert found == ["main", *names]
    for malformed in ("", "A", "a b"):
        assert (await api.get("/users/ann/entries", cursor=malformed)).json()["error"] == "invalid_payload"
    exported = (await api.export("ann", token)).json()
    assert [entry["board"] for entry in exported["entries"]] == names
