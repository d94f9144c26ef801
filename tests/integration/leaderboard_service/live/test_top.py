"""GET /stream/top: the events that a listener gets, and what listeners cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
import redis.asyncio as redis

from tests.conftest import Start
from tests.support.events import Listener, apply, connect, listening
from tests.support.metrics import sample
from tests.support.service import Api, gather
from tests.support.waiting import eventually


def base(api: Api) -> str:
    return str(api.http.base_url)


async def set_score(api: Api, user_id: str, score: int, region: str = "ASIA") -> None:
    response = await api.post("/score/update", {"score": score}, token=api.player_token(user_id, region))
    assert response.status_code == 200, response.text


async def boards_read(client: redis.Redis) -> int:
    """How often this Redis was asked for a board: each such script looks once for how many there are."""
    stats = await client.info("commandstats")
    return int(stats.get("cmdstat_zcard", {}).get("calls", 0))


async def until_rows(listener: Listener, rows: list[dict[str, Any]], wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Follow changes until the board shows these user_ids."""
    while [row["user_id"] for row in rows] != list(wanted):
        event = await listener.next()
        assert event.name == "change"
        rows = apply(rows, event.data)
    return rows


async def test_a_snapshot_and_then_what_changes(any_api: Api) -> None:
    for user_id, score in (("a", 30), ("b", 20), ("c", 10)):
        await any_api.register(user_id, "ASIA", score)
    async with listening(base(any_api), "/stream/top?region=asia&limit=2") as listener:
        first = await listener.next()
        assert listener.retry == 1000
        assert first.name == "snapshot"
        assert first.data == {
            "board": "main",
            "region": "ASIA",
            "total": 3,
            "source": "redis",
            "rows": [
                {"position": 1, "rank": 1, "user_id": "a", "name": "a", "region": "ASIA", "score": 30},
                {"position": 2, "rank": 2, "user_id": "b", "name": "b", "region": "ASIA", "score": 20},
            ],
        }
        await set_score(any_api, "c", 25)
        second = await listener.next()
        assert second.name == "change"
        assert second.data == {
            "board": "main",
            "region": "ASIA",
            "total": 3,
            "source": "redis",
            "rows": [{"position": 2, "rank": 2, "user_id": "c", "name": "c", "region": "ASIA", "score": 25}],
            "removed": ["b"],
        }
        assert first.id != second.id


async def test_the_global_board_follows_players_of_every_region(any_api: Api) -> None:
    async with listening(base(any_api), "/stream/top") as listener:
        first = await listener.next()
        assert (first.data["region"], first.data["total"], first.data["rows"]) == ("GLOBAL", 0, [])
        for score, region in enumerate(("ASIA", "EU", "NA"), 1):
            await any_api.register(f"of-{region}", region, score)
        rows = await until_rows(listener, [], ["of-NA", "of-EU", "of-ASIA"])
        await set_score(any_api, "of-EU", 3, "EU")
        rows = await until_rows(listener, rows, ["of-NA", "of-EU", "of-ASIA"])
        while [row["rank"] for row in rows] != [1, 1, 3]:
            rows = apply(rows, (await listener.next()).data)
        # A tie comes by descending user_id, and follow() gives what a read gives.
        page = await any_api.top(limit=10)
        assert rows == page["rows"]


async def test_every_limit_is_a_slice_of_one_read(start: Start, redis_1: redis.Redis) -> None:
    api = await start(STREAM_INTERVAL_MS=50)
    for score in range(5):
        await api.register(f"p{score}", "EU", score)
    listeners = [await connect(base(api), f"/stream/top?region=EU&limit={limit}") for limit in (1, 3, 100) * 5]
    try:
        for number, listener in enumerate(listeners):
            event = await listener.next()
            wanted = [f"p{score}" for score in (4, 3, 2, 1, 0)][: (1, 3, 100)[number % 3]]
            assert [row["user_id"] for row in event.data["rows"]] == wanted
        before, started = await boards_read(redis_1), asyncio.get_running_loop().time()

        async def reads() -> int:
            done = await boards_read(redis_1) - before
            return done if done >= 10 else 0

        done = await eventually(reads, "ten reads")
        # One poller with an interval of 50 ms for all of them.
        assert done <= (asyncio.get_running_loop().time() - started) / 0.05 + 1
    finally:
        for listener in listeners:
            await listener.close()


async def test_nothing_is_read_and_nothing_runs_when_nobody_listens(start: Start, redis_1: redis.Redis) -> None:
    api = await start(STREAM_INTERVAL_MS=20)
    await api.register("a", "EU", 1)
    await api.get("/top")
    before = len(asyncio.all_tasks())
    async with listening(base(api), "/stream/top?region=EU") as top:
        async with listening(base(api), "/stream/rank/a?region=EU") as rank:
            await top.next()
            await rank.next()
        assert len(asyncio.all_tasks()) > before

    await eventually(lambda: len(asyncio.all_tasks()) == before, "the end of every task")
    done = await boards_read(redis_1)
    await asyncio.sleep(0.3)  # 15 intervals: that something does not happen shows over a time only
    assert await boards_read(redis_1) == done
    assert [sample("leaderboard_streams_open", kind=kind) for kind in ("top", "rank")] == [0, 0]


async def test_many_writes_make_few_events(start: Start) -> None:
    api = await start(STREAM_INTERVAL_MS=200)
    await api.register("a", "EU", 0)
    async with listening(base(api), "/stream/top?region=EU&limit=1") as listener:
        await listener.next()
        clock = asyncio.get_running_loop().time
        started, events, score = clock(), 0, 0
        while clock() - started < 1.2:
            score += 1
            await set_score(api, "a", score, "EU")
        seconds = clock() - started
        while (await listener.next()).data["rows"][0]["score"] != score:
            events += 1
        assert score > 3 * events
        assert 1 <= events <= seconds / 0.2 + 1


async def test_who_comes_back_unchanged_hears_nothing_until_something_happens(start: Start) -> None:
    one, other = await start(STREAM_INTERVAL_MS=50), await start(STREAM_INTERVAL_MS=51)
    await one.register("a", "EU", 1)
    async with listening(base(one), "/stream/top?region=EU") as listener:
        seen = (await listener.next()).id
    for api in (one, other):
        for path, headers in (
            ("/stream/top?region=EU", {"Last_Event_ID": seen}),
            (f"/stream/top?region=EU&last_event_id={seen}", {}),
            ("/stream/top?region=EU&last_event_id=older", {"Last_Event_ID": seen}),
        ):
            async with listening(base(api), path, **headers) as listener:
                await listener.silent(0.2)
    async with listening(base(other), "/stream/top?region=EU", Last_Event_ID=seen) as listener:
        await listener.silent(0.1)
        await set_score(one, "a", 2, "EU")
        event = await listener.next()
        assert (event.name, event.data["rows"][0]["score"]) == ("change", 2)
        async with listening(base(one), "/stream/top?region=EU") as fresh:
            assert (await fresh.next()).id == event.id, "equal states have equal ids on every replica"


async def test_a_replica_that_remembers_sends_what_was_missed(start: Start) -> None:
    api = await start(STREAM_INTERVAL_MS=50)
    await api.register("a", "EU", 1)
    async with listening(base(api), "/stream/top?region=EU") as other:
        async with listening(base(api), "/stream/top?region=EU") as listener:
            seen = (await listener.next()).id
        assert (await other.next()).id == seen
        await api.register("b", "EU", 2)
        await until_rows(other, [], ["b", "a"])
        async with listening(base(api), "/stream/top?region=EU", Last_Event_ID=seen) as back:
            event = await back.next()
            assert event.name == "change"
            assert [row["user_id"] for row in event.data["rows"]] == ["b", "a"], "a moved one down"
            assert event.id == other.last_id


@pytest.mark.parametrize("bad", ["0", "x" * 4000, "*", "id with spaces", "\xe9\xff", "73ced637761273850f06ff29"])
async def test_an_id_that_nobody_knows_gives_a_snapshot(api: Api, bad: str) -> None:
    reader = await connect(base(api), "/stream/top", Last_Event_ID=bad)
    assert (await reader.next()).name == "snapshot"
    await reader.close()


async def test_what_is_wrong_with_the_request_is_said_before_the_stream(api: Api) -> None:
    for query, field in (("limit=0", "limit"), ("limit=101", "limit"), ("limit=ten", "limit")):
        response = await api.get(f"/stream/top?{query}")
        assert response.status_code == 422
        assert response.json()["error"] == "invalid_payload"
        assert [problem["field"] for problem in response.json()["fields"]] == [field]
    response = await api.get("/stream/top?region=mars")
    assert (response.status_code, response.json()["error"]) == (422, "unknown_region")
    response = await api.http.post("/stream/top", json={})
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    for path in ("/stream", "/stream/", "/stream/bottom", "/stream/rank", "/stream/rank/", "/stream/rank/a/b"):
        assert (await api.get(path)).status_code == 404


async def test_head_is_the_head(api: Api) -> None:
    response = await api.http.head("/stream/top")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert (await api.http.head("/stream/top?region=mars")).status_code == 422
    assert sample("leaderboard_streams_open", kind="top") == 0


async def test_more_listeners_than_may_are_told_to_come_later(start: Start) -> None:
    api = await start(STREAM_MAX_LISTENERS=2)
    await api.register("a", "EU", 1)
    async with listening(base(api), "/stream/top"):
        async with listening(base(api), "/stream/rank/a"):
            for path in ("/stream/top", "/stream/rank/a"):
                async with api.http.stream("GET", path) as response:
                    assert response.status_code == 503
                    assert int(response.headers["retry-after"]) >= 1
                    assert orjson.loads(await response.aread())["error"] == "unavailable"
            assert (await api.get("/top")).status_code == 200

        async def has_room() -> bool:
            listener = await connect(base(api), "/stream/top")  # over a socket: in this process it has no end
            try:
                return listener.status == 200
            finally:
                await listener.close()

        await eventually(has_room, "room for another listener")


async def test_silence_is_filled_with_heartbeats(start: Start) -> None:
    api = await start(STREAM_HEARTBEAT_SECONDS=0.2)
    await api.register("a", "EU", 1)
    async with (
        listening(base(api), "/stream/top?region=EU") as top,
        listening(base(api), "/stream/rank/a?region=EU") as rank,
    ):
        await top.next()
        await rank.next()
        await gather([top.silent(0.7), rank.silent(0.7)])
        for listener in (top, rank):
            assert set(listener.comments) == {"heartbeat"}
            assert 2 <= len(listener.comments) <= 5
        await set_score(api, "a", 2, "EU")
        assert (await top.next()).name == (await rank.next()).name == "change"


async def test_names_of_any_kind_arrive_whole(api: Api, all_redis: redis.Redis) -> None:
    """Also those from before a rule that would refuse them."""
    names = ["line\u2028separator", "<script>", "\u202eרוטב", "🎮" * 50, "data: x", ": comment"]
    for number, name in enumerate(names):
        await api.register(f"p{number}", "EU", -number)
        await all_redis.hset(f"user:p{number}", "name", name)
    async with listening(base(api), "/stream/top?region=EU") as listener:
        assert [row["name"] for row in (await listener.next()).data["rows"]] == names


async def test_the_metrics_and_the_log_tell_of_streams(
    start: Start, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    api = await start(ACCESS_LOG="true", STREAM_INTERVAL_MS=20)
    await api.register("a", "EU", 1)

    async def metric(line: str) -> float:
        page = (await api.get("/metrics")).text
        return sum(float(found.split(" ")[-1]) for found in page.splitlines() if found.startswith(line))

    async def open_streams() -> list[float]:
        return [await metric(f'leaderboard_streams_open{{kind="{kind}"}}') for kind in ("top", "rank")]

    events = sample("leaderboard_stream_events_total", kind="top", event="change")

    async def slow() -> float:
        name = "leaderboard_http_request_seconds"
        count = await metric(f'{name}_count{{route="/stream/top"}}')
        return count - await metric(f'{name}_bucket{{le="0.5",route="/stream/top"}}')

    slow_before = await slow()
    answered = await metric('leaderboard_http_requests_total{method="GET",route="/stream/top",status="200"}')
    async with listening(base(api), "/stream/top?region=EU") as listener:
        await listener.next()
        assert await open_streams() == [1, 0]
        await set_score(api, "a", 2, "EU")
        await listener.next()
        await asyncio.sleep(0.6)  # longer than the bucket of half a second, which the stream must not miss

    async def closed() -> bool:
        return await open_streams() == [0, 0]

    await eventually(closed, "the end of the stream")
    assert sample("leaderboard_stream_events_total", kind="top", event="change") == events + 1
    name = 'leaderboard_http_requests_total{method="GET",route="/stream/top",status="200"}'
    assert await metric(name) == answered + 1
    assert await slow() == slow_before, "the life of a stream is no latency"
    api.app.access_log.flush()
    lines = [line for line in capsysbinary.readouterr().out.splitlines() if b"/stream/top" in line]
    assert len(lines) == 1
    assert b'"status":200' in lines[0]
    assert b'"pieces":3' in lines[0]
