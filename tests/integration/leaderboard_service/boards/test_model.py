"""Random writes and reads give what the plain-Python model gives, on every layout."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import EMPTY, admit
from tests.support.all_redis import AllRedis
from tests.support.layouts import Layout
from tests.support.model import MOST, Model
from tests.support.service import REGIONS, Api, running_service

USERS = ("a", "b", "B", "a:b", "é", "z", "日", "🎮", "\uffff", "aa", "%")
SCORES = (0, 1, 1, 2, -1, MOST, -MOST)

users, regions = st.sampled_from(USERS), st.sampled_from(REGIONS)
scores = st.sampled_from(SCORES)
names = st.sampled_from(["N", "名前", 'q"{}'])

ordered = st.tuples(scores, scores).map(sorted)
first_and_last = st.tuples(st.integers(1, 9), st.integers(0, 9))
bounds = st.one_of(
    ordered.map(lambda pair: {"min": pair[0], "max": pair[1]}),
    scores.map(lambda score: {"min": score}),
    scores.map(lambda score: {"max": score}),
    first_and_last.map(lambda pair: {"from": pair[0], "to": pair[0] + pair[1]}),
    st.integers(1, 9).map(lambda rank: {"from": rank}),
    st.integers(1, 9).map(lambda rank: {"to": rank}),
)

operations = st.one_of(
    st.tuples(st.just("register"), users, names, regions, scores),
    st.tuples(st.just("create"), users, names, regions, scores),
    st.tuples(st.just("put"), users, st.none() | names, regions, scores),
    st.tuples(st.just("put"), users, st.none() | names, regions, scores),
    st.tuples(st.just("delete"), users),
    st.tuples(st.just("set"), users, scores),
    st.tuples(st.just("add"), users, scores),
    st.tuples(st.just("top"), regions, st.integers(1, 12), st.integers(0, 12)),
    st.tuples(st.just("rank"), regions, users),
    st.tuples(st.just("around"), regions, users, st.integers(1, 5)),
    st.tuples(st.just("ranks"), regions, st.lists(users, min_size=1, max_size=6)),
    st.tuples(st.just("pages"), regions, st.integers(1, 4)),
    st.tuples(st.just("range"), regions, bounds, st.integers(1, 4)),
)
READS = ("top", "rank", "around", "ranks", "pages", "range")


def outcome(response: httpx.Response) -> int | str:
    body = response.json()
    if "error" in body:
        return str(body["error"])
    if "deleted_at" in body:
        return 0
    return int(body["user"]["score"] if "user" in body else body["card"]["score"] if "card" in body else body["score"])


async def write(api: Api, model: Model, operation: tuple[Any, ...]) -> None:
    kind, user_id, *rest = operation
    if kind == "register":
        name, region, score = rest
        response = await api.try_register(user_id, region, score, name=name)
        expected = model.register(user_id, name, region, score)
    elif kind == "create":
        name, region, score = rest
        token = api.player_token(user_id, region, name)
        response = await api.post("/score/create", {"region": region, "initialScore": score}, token=token)
        expected = model.create(user_id, name, region, score)
    elif kind == "put":
        name, region, score = rest
        body = {"user_id": user_id, "region": region, "score": score, "name": name}
        response = await api.post("/score", body, token=api.server_token())
        expected = model.put(user_id, name, region, score)
    elif kind == "delete":
        response = await api.delete(user_id)
        expected = model.delete(user_id)
    else:
        home = model.players[user_id].region if user_id in model.players else "ASIA"
        token = api.player_token(user_id, home)
        if kind == "set":
            response = await api.post("/score/update", {"score": rest[0]}, token=token)
            expected = model.set(user_id, home, rest[0])
        else:
            response = await api.post("/score/add", {"delta": rest[0]}, token=token)
            expected = model.add(user_id, rest[0])
    assert outcome(response) == expected, (operation, response.text)


async def read(api: Api, model: Model, operation: tuple[Any, ...]) -> None:
    kind, region, *rest = operation
    expected: dict[str, Any] | None
    if kind in ("pages", "range"):
        path, limits = ("/top", {}) if kind == "pages" else ("/range", rest[0])
        total, rows = await all_pages(api, path, {"region": region, "limit": rest[-1], **limits})
        assert (total, rows) == (len(model.board(region)), model.range(region, limits)), operation
        return
    if kind == "top":
        response = await api.get("/top", region=region, limit=rest[0], offset=rest[1])
        expected = model.top(region, rest[0], rest[1])
    elif kind == "ranks":
        response = await api.post("/ranks", {"region": region, "user_ids": rest[0]})
        expected = model.ranks(region, rest[0])
    elif kind == "rank":
        response = await api.get(f"/rank/{quote(rest[0], safe='')}", region=region)
        expected = model.rank(region, rest[0])
    else:
        response = await api.get(f"/around/{quote(rest[0], safe='')}", region=region, range=rest[1])
        expected = model.around(region, rest[0], rest[1])
    if expected is None:
        assert (response.status_code, response.json()["found"]) == (404, False)
    else:
        body = response.json()
        if "next_cursor" in body:
            body["next_cursor"] = body["next_cursor"] is not None
        assert body == expected, operation


async def all_pages(api: Api, path: str, params: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """The total and all rows that cursors lead to; a page before the last one is full."""
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        response = await api.get(path, **params, **cursor)
        assert response.status_code == 200, response.text
        page = response.json()
        rows += page["rows"]
        if page["next_cursor"] is None:
            return page["total"], rows
        assert len(page["rows"]) == params["limit"]
        cursor = {"cursor": page["next_cursor"]}


async def play(api: Api, plan: list[tuple[Any, ...]], world: int) -> None:
    """Do and compare; each world has players of its own."""
    model = Model()
    for operation in plan:
        place = 1 if operation[0] not in READS else 2
        if operation[0] == "ranks":
            operation = (*operation[:2], [f"{world}:{user_id}" for user_id in operation[2]])
        elif operation[0] not in ("top", "pages", "range"):
            operation = (*operation[:place], f"{world}:{operation[place]}", *operation[place + 1 :])
        await (read if operation[0] in READS else write)(api, model, operation)
    for region in REGIONS:
        await read(api, model, ("top", region, 1000, 0))
        await read(api, model, ("pages", region, 2))
        await read(api, model, ("ranks", region, [*model.players, "nobody"]))
        for user_id in model.players:
            await read(api, model, ("rank", region, user_id))
            for reach in (1, 2):
                await read(api, model, ("around", region, user_id, reach))


def test_random_writes_and_reads_give_the_boards_of_the_model(any_layout: Layout, environ: dict[str, str]) -> None:
    with asyncio.Runner() as runner:

        async def start() -> tuple[Any, Api]:
            databases = await RegionDatabases.open(load(TopologySettings, environ))
            for region in databases.regions:
                await databases[region].execute(EMPTY)
            await empty(environ)
            await admit(environ, databases)
            await databases.close()
            context = running_service(environ)
            return context, await context.__aenter__()

        context, api = runner.run(start())
        admissions = runner.run(admissions_of(api))

        worlds = itertools.count()

        @given(st.lists(operations, min_size=1, max_size=25))
        @settings(max_examples=25, suppress_health_check=list(HealthCheck))
        def examples(plan: list[tuple[Any, ...]]) -> None:
            runner.run(begin_anew(environ, admissions))
            runner.run(play(api, plan, next(worlds)))

        try:
            examples()
        finally:
            runner.run(context.__aexit__(None, None, None))


async def empty(environ: dict[str, str]) -> None:
    client = AllRedis(environ)
    try:
        await client.flushdb()
    finally:
        await client.aclose()


async def admissions_of(api: Api) -> dict[Shard, str]:
    return {shard: str(await shard.client.get(shard.keys.admission)) for shard in api.services.shard_map.shards}


async def begin_anew(environ: dict[str, str], admissions: dict[Shard, str]) -> None:
    """Empty every Redis, which is admitted as before."""
    await empty(environ)
    for shard, admission in admissions.items():
        await shard.client.set(shard.keys.admission, admission)
