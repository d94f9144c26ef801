"""GET /stream/rank/{user_id}: one player's rank and neighbours, live, until it is deleted."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import redis.asyncio as redis

from tests.conftest import Start
from tests.integration.leaderboard_service.live.test_top import base, boards_read, set_score
from tests.support.events import connect, listening
from tests.support.metrics import sample
from tests.support.service import Api
from tests.support.waiting import eventually


async def five(api: Api) -> None:
    """a 50, b 40, c 40, d 20, e 10; b and d live in EU, which may be another Redis."""
    for user_id, score, region in (
        ("a", 50, "ASIA"),
        ("b", 40, "EU"),
        ("c", 40, "NA"),
        ("d", 20, "EU"),
        ("e", 10, "NA"),
    ):
        await api.register(user_id, region, score)


async def same_as_reads(api: Api, data: dict[str, Any], user_id: str, reach: int) -> None:
    """The data of an event says what /rank and /around say."""
    rank = (await api.get(f"/rank/{user_id}")).json()
    assert (data["region"], data["total"], data["source"]) == ("GLOBAL", rank["total"], "redis")
    assert {key: data["self"][key] for key in ("rank", "user_id", "name", "score")} == {
        key: rank[key] for key in ("rank", "user_id", "name", "score")
    }
    around = (await api.get(f"/around/{user_id}", range=max(1, reach))).json()
    assert data["around"] == (around["around"] if reach else [])


async def test_everything_at_first_and_at_each_change(any_api: Api) -> None:
    await five(any_api)
    async with listening(base(any_api), "/stream/rank/c") as listener:
        first = await listener.next()
        assert listener.retry == 1000
        assert first.name == "snapshot"
        assert first.data["self"] == {
            "rank": 2,
            "position": 2,
            "user_id": "c",
            "name": "c",
            "region": "NA",
            "score": 40,
            "percentile": 75.0,
        }
        assert [row["user_id"] for row in first.data["around"]] == ["a", "b", "d"]
        await same_as_reads(any_api, first.data, "c", 2)
        await set_score(any_api, "e", 60, "NA")
        second = await listener.next()
        assert second.name == "change"
        assert (second.data["self"]["rank"], second.data["self"]["percentile"]) == (3, 50.0)
        assert [row["user_id"] for row in second.data["around"]] == ["e", "a", "b", "d"]
        await same_as_reads(any_api, second.data, "c", 2)


async def test_neighbours_as_far_as_asked_for(any_api: Api) -> None:
    await five(any_api)
    for user_id in "abcde":
        for reach in (0, 1, 10):
            async with listening(base(any_api), f"/stream/rank/{user_id}?range={reach}") as listener:
                await same_as_reads(any_api, (await listener.next()).data, user_id, reach)


async def test_a_player_alone_is_above_all_others(api: Api) -> None:
    user_id = "日本 %/🎮".replace("/", "").replace(" ", "")
    await api.register(user_id, "EU", 1)
    async with listening(base(api), f"/stream/rank/{quote(user_id)}?region=eu") as listener:
        event = await listener.next()
        assert event.data["self"]["user_id"] == user_id
        assert (event.data["self"]["percentile"], event.data["around"]) == (100.0, [])


async def test_an_unknown_player_is_404_before_the_stream(any_api: Api) -> None:
    await any_api.register("a", "EU", 1)
    for path in ("/stream/rank/nobody", "/stream/rank/a?region=ASIA", "/stream/rank/nobody?range=0"):
        response = await any_api.get(path)
        assert response.status_code == 404
        assert response.json()["error"] == "user_not_found"
        assert response.json()["found"] is False
    assert (await any_api.http.head("/stream/rank/nobody")).status_code == 404
    assert (await any_api.http.head("/stream/rank/a")).status_code == 200
    for query in ("range=-1", "range=11", "region=mars"):
        assert (await any_api.get(f"/stream/rank/a?{query}")).status_code == 422
    assert (await any_api.get(f"/stream/rank/{'x' * 129}")).status_code == 422
    assert sample("leaderboard_streams_open", kind="rank") == 0


async def test_a_deleted_player_is_gone_and_one_of_that_name_is_another(start: Start, redis_1: redis.Redis) -> None:
    api = await start(STREAM_INTERVAL_MS=50)
    await five(api)
    async with listening(base(api), "/stream/rank/c?range=1") as one, listening(base(api), "/stream/rank/d") as other:
        await one.next()
        await other.next()
        async with redis_1.pipeline(transaction=True) as pipe:
            pipe.zrem("leaderboard:GLOBAL", "c")
            pipe.zrem("leaderboard:NA", "c")
            pipe.delete("user:c")
            await pipe.execute()
        event = await one.next()
        assert (event.name, event.data) == ("gone", {"board": "main", "region": "GLOBAL", "user_id": "c"})
        assert await one.ended() is True
        assert (await other.next()).data["total"] == 4, "and life goes on"
    assert (await api.get("/stream/rank/c?range=1")).status_code == 404
    await api.register("c", "NA", 1)
    async with listening(base(api), "/stream/rank/c?range=1") as again:
        assert (await again.next()).data["self"]["score"] == 1


async def test_one_read_per_player_and_range_however_many_listen(start: Start, redis_1: redis.Redis) -> None:
    api = await start(STREAM_INTERVAL_MS=10_000)
    await five(api)
    async with listening(base(api), "/stream/rank/a") as first:
        await first.next()
        before = await boards_read(redis_1)
        others = [await connect(base(api), "/stream/rank/a") for _ in range(10)]
        for listener in others:
            assert (await listener.next()).id == first.last_id
        assert await boards_read(redis_1) == before, "a later listener gets what was fetched"
        async with listening(base(api), "/stream/rank/a?range=1") as near, listening(base(api), "/stream/rank/b") as b:
            await near.next()
            await b.next()
            assert await boards_read(redis_1) == before + 2
        for listener in others:
            await listener.close()


async def test_who_comes_back_unchanged_hears_nothing(start: Start) -> None:
    one, other = await start(STREAM_INTERVAL_MS=50), await start(STREAM_INTERVAL_MS=51)
    await five(one)
    async with listening(base(one), "/stream/rank/a") as listener:
        seen = (await listener.next()).id
    async with listening(base(other), "/stream/rank/a", Last_Event_ID=seen) as back:
        await back.silent(0.2)
        await set_score(one, "b", 45, "EU")
        event = await back.next()
        assert (event.name, [row["score"] for row in event.data["around"]]) == ("change", [45, 40])


async def test_ranks_of_hundreds_of_players(start: Start) -> None:
    api = await start(STREAM_INTERVAL_MS=50)
    players = 250
    scores = [{"user_id": f"p{number:03}", "region": "EU", "score": number} for number in range(players)]
    assert (await api.post("/scores", {"scores": scores}, token=api.server_token())).json()["ok"]
    listeners = [await connect(base(api), f"/stream/rank/p{number:03}?range=0") for number in range(players)]
    for number, listener in enumerate(listeners):
        assert (await listener.next()).data["self"]["rank"] == players - number
    await api.register("best", "NA", players)
    for number, listener in enumerate(listeners):
        assert (await listener.next()).data["self"]["rank"] == players - number + 1
    for listener in listeners:
        await listener.close()
    await eventually(lambda: sample("leaderboard_streams_open", kind="rank") == 0, "the end of all streams")
