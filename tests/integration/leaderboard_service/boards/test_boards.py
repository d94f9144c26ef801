"""Reads: order, competition ranks, windows and totals, on one and on two Redis, for user_ids of any script."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
import redis.asyncio as redis

from leaderboard_core.boards import Place
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from leaderboard_service.boards.redis_boards import RedisBoards
from tests.conftest import Start, admit
from tests.support.redis_dump import dump
from tests.support.service import Api, gather

ODD_IDS = (
    "ascii",
    "user:1",
    "*",
    "a*->b",
    "*->score",
    "#",
    "100%",
    "%41",
    "a%2Fb",
    "{tag}",
    "{}",
    "'",
    '"quoted"',
    "back\\slash",
    "a;DROP",
    "a+b&c=d?e#f",
    "é",
    "x\u0301",  # two characters in every normal form
    "ÅNGSTRÖM",
    "日本語",
    "한국어",
    "مرحبا",
    "\u202eרוטב\u202c",
    "🎮👨‍👩‍👧‍👦",
    "a\u200bb",
    "\ufeffbom",
    "a\uffff",
    "a\U0010ffff",
    "-0",
    "null",
    "inf",
    "x" * 128,
    "𝔘" * 128,
)


async def test_ranks_are_competition_ranks(any_api: Api) -> None:
    for user_id, region, score in (
        ("a", "ASIA", 50),
        ("b", "EU", 50),
        ("c", "EU", 30),
        ("d", "NA", 30),
        ("e", "ASIA", 10),
    ):
        await any_api.register(user_id, region, score)
    page = await any_api.top()
    assert page["total"] == 5
    assert page["rows"] == [
        {"rank": 1, "position": 1, "user_id": "b", "name": "b", "region": "EU", "score": 50},
        {"rank": 1, "position": 2, "user_id": "a", "name": "a", "region": "ASIA", "score": 50},
        {"rank": 3, "position": 3, "user_id": "d", "name": "d", "region": "NA", "score": 30},
        {"rank": 3, "position": 4, "user_id": "c", "name": "c", "region": "EU", "score": 30},
        {"rank": 5, "position": 5, "user_id": "e", "name": "e", "region": "ASIA", "score": 10},
    ]
    rank = await any_api.get("/rank/d")
    assert rank.json() == {
        "found": True,
        "board": "main",
        "region": "GLOBAL",
        "total": 5,
        "rank": 3,
        "position": 3,
        "percentile": 50.0,
        "user_id": "d",
        "name": "d",
        "score": 30,
    }
    around = (await any_api.get("/around/d", range=1)).json()
    assert around == {
        "found": True,
        "board": "main",
        "region": "GLOBAL",
        "total": 5,
        "self": page["rows"][2],
        "around": [page["rows"][1], page["rows"][3]],
    }
    assert (await any_api.get("/rank/c", region="eu")).json()["rank"] == 2
    eu = (await any_api.get("/around/c", region="Eu", range=100)).json()
    assert (eu["total"], eu["self"]["rank"], [row["user_id"] for row in eu["around"]]) == (2, 2, ["b"])


async def test_pages_fit_together(any_api: Api) -> None:
    await gather([any_api.try_register(f"p{n:02}", ("ASIA", "EU")[n % 2], n // 3) for n in range(31)])
    whole = await any_api.top()
    assert [row["user_id"] for row in whole["rows"]] == [
        f"p{n:02}" for n in sorted(range(31), key=lambda n: (n // 3, n), reverse=True)
    ]
    for limit in (1, 4, 7):
        rows = []
        for offset in range(0, 31, limit):
            page = await any_api.top(limit=limit, offset=offset)
            assert page["total"] == 31
            rows += page["rows"]
        assert rows == whole["rows"]
    beyond = await any_api.top(limit=10, offset=31)
    assert (beyond["total"], beyond["rows"], beyond["next_cursor"]) == (31, [], None)


async def every_page(api: Api, path: str, **params: Any) -> list[dict[str, Any]]:
    """The pages that a read's cursors lead to."""
    pages = [(await api.get(path, **params)).json()]
    while (cursor := pages[-1]["next_cursor"]) is not None:
        pages.append((await api.get(path, **params, cursor=cursor)).json())
    return pages


async def fill(shard_map: ShardMap) -> list[tuple[int, str]]:
    """Put 12,000 players with few scores on the boards; return score and user_id of each, in board order."""
    everybody: list[tuple[int, str]] = []
    for region, players in (("ASIA", 7000), ("EU", 5000)):
        scores = {f"{region}-{n:05}": n // 900 for n in range(players)}
        everybody += ((score, user_id) for user_id, score in scores.items())
        for shard in shard_map.shards_of_region(region):
            own = [item for item in scores.items() if shard_map.shard_of(region, item[0]) is shard]
            for first in range(0, len(own), 1000):
                part = dict(own[first : first + 1000])
                async with shard.client.pipeline() as pipe:
                    pipe.zadd(shard.keys.board(region), part)
                    pipe.zadd(shard.keys.board("GLOBAL"), part)
                    for user_id, score in part.items():
                        pipe.hset(shard.keys.user(user_id), mapping={"name": user_id, "region": region, "score": score})
                    await pipe.execute()
    return sorted(everybody, reverse=True)


async def test_cursors_lead_through_a_board_of_any_depth(any_api: Api) -> None:
    """With ties over many pages."""
    expected = await fill(any_api.services.shard_map)
    pages = await every_page(any_api, "/top", limit=1000)
    assert [len(page["rows"]) for page in pages] == [1000] * 12
    rows = [row for page in pages for row in page["rows"]]
    assert [(row["score"], row["user_id"]) for row in rows] == expected
    scores_in_order = [score for score, _ in expected]
    assert [row["rank"] for row in rows] == [scores_in_order.index(score) + 1 for score in scores_in_order]
    deep = (await any_api.get("/range", **{"from": 11_000, "to": 12_000, "limit": 1000})).json()
    assert deep["rows"] == [row for row in rows if 11_000 <= row["rank"] <= 12_000][:1000]
    for offset in (1, 119, 120, 900, 4321, 9_999, 10_000, 11_990):
        for limit in (1, 19, 300):
            page = await any_api.top(limit=limit, offset=offset)
            assert page["rows"] == rows[offset : offset + limit], (offset, limit)
            assert page["total"] == len(rows)
            assert (page["next_cursor"] is None) == (offset + limit >= len(rows))


async def test_a_deep_page_takes_few_round_trips_and_rows(
    sharded_environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, redis_2: redis.Redis
) -> None:
    """Without a service, which looks at its servers meanwhile."""
    await admit(sharded_environ, databases)
    shard_map = ShardMap.open(load(TopologySettings, sharded_environ))
    boards = RedisBoards(shard_map)
    await fill(shard_map)
    try:
        for offset, most_trips in ((0, 1), (110, 1), (111, 4), (6_000, 4), (11_900, 4), (12_000, 1)):
            await boards.top(Place.on_main("GLOBAL"), 10, offset)  # loads the scripts
            for client in (redis_1, redis_2):
                await client.config_resetstat()
            await boards.top(Place.on_main("GLOBAL"), 10, offset)
            for client in (redis_1, redis_2):
                assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] <= most_trips
                # The rows before the page would be half a megabyte.
                assert (await client.info("stats"))["total_net_output_bytes"] < 10_000
    finally:
        await shard_map.close()


async def test_a_deep_page_while_somebody_writes_is_one_of_a_moment(
    any_api: Api,
) -> None:
    await fill(any_api.services.shard_map)
    chance = random.Random(3)
    written = 0

    async def write() -> None:
        nonlocal written
        while True:
            region, players = chance.choice((("ASIA", 7000), ("EU", 5000)))
            token = any_api.player_token(f"{region}-{chance.randrange(players):05}", region)
            body = {"score": chance.randrange(8)}
            assert (await any_api.post("/score/update", body, token=token)).status_code == 200
            written += 1

    writing = [asyncio.create_task(write()) for _ in range(3)]
    try:
        for _ in range(60):
            offset = chance.randrange(120, 11_900)
            page = await any_api.top(limit=100, offset=offset)
            rows = page["rows"]
            assert (page["total"], len(rows)) == (12_000, 100)
            in_order = sorted(rows, key=lambda row: (row["score"], row["user_id"].encode()), reverse=True)
            assert rows == in_order
            assert len({row["user_id"] for row in rows}) == 100
            assert rows[0]["rank"] <= offset + 1
            for number in range(1, 100):
                same = rows[number]["score"] == rows[number - 1]["score"]
                assert rows[number]["rank"] == (rows[number - 1]["rank"] if same else offset + number + 1)
    finally:
        for task in writing:
            task.cancel()
        ended = await asyncio.gather(*writing, return_exceptions=True)
    assert all(isinstance(error, asyncio.CancelledError) for error in ended)
    assert written > 60


async def test_a_player_who_stays_is_seen_once_whoever_moves(any_api: Api) -> None:
    await gather([any_api.try_register(f"p{n:02}", ("ASIA", "EU")[n % 2], n // 3) for n in range(30)])
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 4}
    while True:
        page = (await any_api.get("/top", **params)).json()
        seen += [row["user_id"] for row in page["rows"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
        # The last row's player goes to the top, somebody comes in between, and the one after the last row leaves.
        last = page["rows"][-1]
        token = any_api.player_token(last["user_id"], last["region"])
        assert (await any_api.post("/score/update", {"score": 100 + len(seen)}, token=token)).status_code == 200
        await any_api.register(f"q{len(seen):02}", "NA", last["score"])
    stayed = {f"p{n:02}" for n in range(30)}
    assert stayed <= set(seen)
    assert len([user_id for user_id in seen if user_id in stayed]) == len(stayed)


async def test_percentiles_of_a_player_and_of_a_list(any_api: Api) -> None:
    token = await any_api.register("alone", "EU", 5)
    assert (await any_api.get("/rank/alone")).json()["percentile"] == 100
    for user_id, region, score in (("a", "ASIA", 9), ("b", "EU", 5), ("c", "NA", 1)):
        await any_api.register(user_id, region, score)
    answer = (await any_api.post("/ranks", {"user_ids": ["c", "nobody", "b", "alone", "c"], "region": "global"})).json()
    assert answer == {
        "board": "main",
        "region": "GLOBAL",
        "total": 4,
        "rows": [
            {"place": place, "rank": rank, "position": position, "percentile": share, **player}
            for place, rank, position, share, player in (
                (1, 2, 2, 66.6667, {"user_id": "b", "name": "b", "region": "EU", "score": 5}),
                (1, 2, 3, 66.6667, {"user_id": "alone", "name": "alone", "region": "EU", "score": 5}),
                (3, 4, 4, 0.0, {"user_id": "c", "name": "c", "region": "NA", "score": 1}),
            )
        ],
        "unknown": ["nobody"],
    }
    on_eu = (await any_api.post("/ranks", {"user_ids": ["a", "b"], "region": "EU"})).json()
    assert (on_eu["total"], [row["rank"] for row in on_eu["rows"]], on_eu["unknown"]) == (2, [1], ["a"])
    assert (await any_api.post("/score/update", {"score": 2**53 - 1}, token=token)).status_code == 200
    many = [*(f"nobody-{n}" for n in range(999)), "alone"]
    answer = (await any_api.post("/ranks", {"user_ids": many})).json()
    assert ([row["score"] for row in answer["rows"]], answer["unknown"]) == ([2**53 - 1], many[:-1])


async def test_an_empty_board(any_api: Api) -> None:
    for region in ("ASIA", "EU", "NA", "GLOBAL", "global", "Asia"):
        empty = {"board": "main", "region": region.upper(), "total": 0, "rows": [], "next_cursor": None}
        assert await any_api.top(region) == empty
        for bounds in ("min=0", "max=0", "from=1", "to=9"):
            assert (await any_api.get(f"/range?region={region}&{bounds}")).json() == empty
        listed = (await any_api.post("/ranks", {"region": region, "user_ids": ["b", "a", "b"]})).json()
        assert listed == {"board": "main", "region": region.upper(), "total": 0, "rows": [], "unknown": ["b", "a"]}


@pytest.mark.parametrize("path", ["/rank/nobody", "/around/nobody"])
async def test_a_missing_player(any_api: Api, path: str) -> None:
    await any_api.register("alice", "EU")
    for region in ("GLOBAL", "EU", "ASIA"):
        response = await any_api.get(path, region=region)
        assert response.status_code == 404
        assert response.json()["found"] is False
        assert response.json()["error"] == "user_not_found"
        assert response.json()["message"]
    # A player of one region is not on the board of another.
    response = await any_api.get(path.replace("nobody", "alice"), region="ASIA")
    assert response.status_code == 404


async def test_user_ids_of_any_script(any_api: Api, all_redis: redis.Redis) -> None:
    """All of one score: the order is that of the bytes of user_id, and each is found under its own name."""
    for number, user_id in enumerate(ODD_IDS):
        name = f"{user_id[:60]} \u0301 'n' \"q\" {{}} % 🏆 \u202e\u202c"
        region = ("ASIA", "EU", "GLOBAL")[number % 3]
        response = await any_api.try_register(user_id, region, 7, name=name)
        assert response.status_code == 201, (user_id, response.text)
        assert response.json()["user"] == {"user_id": user_id, "name": name, "region": region, "score": 7}
    rows = (await any_api.top())["rows"]
    in_order = sorted(ODD_IDS, key=lambda user_id: user_id.encode(), reverse=True)
    assert [row["user_id"] for row in rows] == in_order
    assert {row["rank"] for row in rows} == {1}
    for place, user_id in enumerate(in_order):
        rank = await any_api.http.get(f"/rank/{quote(user_id, safe='')}")
        assert (rank.status_code, rank.json().get("user_id"), rank.json().get("rank")) == (200, user_id, 1)
        around = (await any_api.http.get(f"/around/{quote(user_id, safe='')}", params={"range": 2})).json()
        assert around["self"] == rows[place]
        assert around["around"] == rows[max(0, place - 2) : place] + rows[place + 1 : place + 3]
        token = any_api.player_token(user_id, rows[place]["region"])
        assert (await any_api.post("/score/add", {"delta": 0}, token=token)).json()["user_id"] == user_id
    assert sorted(await all_redis.zrange("leaderboard:GLOBAL", 0, -1)) == sorted(ODD_IDS)


@pytest.mark.parametrize("limit", [1, 1000])
async def test_limits_at_their_ends(any_api: Api, limit: int) -> None:
    await any_api.register("alice", "EU")
    assert len((await any_api.top(limit=limit))["rows"]) == 1
    assert len((await any_api.get("/around/alice", range=100)).json()["around"]) == 0


async def test_the_deepest_page(any_api: Api) -> None:
    await any_api.register("alice", "EU")
    for region in ("GLOBAL", "EU", "ASIA"):
        page = await any_api.get("/top", region=region, offset=2**53 - 1, limit=1000)
        assert (page.status_code, page.json()["rows"], page.json()["next_cursor"]) == (200, [], None)
        assert page.json()["total"] == (region != "ASIA")


async def test_reads_do_not_change_redis(any_api: Api, all_redis: redis.Redis) -> None:
    await any_api.register("alice", "EU")
    before = await dump(all_redis)
    for path in ("/top", "/rank/alice", "/around/alice", "/rank/nobody", "/range?min=1", "/range?from=1", "/health"):
        await any_api.get(path)
    await any_api.post("/ranks", {"user_ids": ["alice", "bob"]})
    await any_api.get("/metrics")
    assert await dump(all_redis) == before


async def test_a_read_is_one_script_call(start: Start, redis_1: redis.Redis) -> None:
    """One round trip a read on a single Redis, names included."""
    api = await start()
    for n in range(20):
        await api.register(f"p{n}", "EU", n)
    cursor = (await api.top(limit=3))["next_cursor"]
    reads = [
        *(
            partial(api.get, path)
            for path in (
                "/top",
                f"/top?cursor={cursor}",
                "/rank/p3",
                "/around/p3",
                "/rank/nobody",
                "/range?from=2&to=9",
            )
        ),
        partial(api.post, "/ranks", {"user_ids": [f"p{n}" for n in range(40)]}),
    ]
    for read in reads:
        await read()  # loads the scripts
        counts = []
        for _ in range(3):  # the look at the server, once a second, may come in between
            await redis_1.config_resetstat()
            assert (await read()).status_code in (200, 404)
            stats = await redis_1.info("commandstats")
            counts.append(stats["cmdstat_evalsha"]["calls"])
            assert "cmdstat_eval" not in stats
        assert min(counts) == 1


async def test_homes_are_remembered_and_still_right(sharded_api: Api) -> None:
    for user_id, region in (("a", "ASIA"), ("b", "EU")):
        assert (await sharded_api.get(f"/rank/{user_id}")).status_code == 404
        await sharded_api.register(user_id, region, 5)
        for board in ("GLOBAL", region, "GLOBAL"):
            assert (await sharded_api.get(f"/rank/{user_id}", region=board)).status_code == 200
            assert (await sharded_api.get(f"/around/{user_id}", region=board)).status_code == 200
