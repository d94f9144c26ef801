"""Random writes and reads give what the plain-Python model gives, over one and over two Redis."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaderboard_core.postgres import RegionDatabases
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import mark_ready
from tests.support.infrastructure import Infrastructure
from tests.support.model import MOST, Model
from tests.support.service import REGIONS, Api, running_service

USERS = ("a", "b", "B", "a:b", "é", "z", "日", "🎮", "\uffff", "aa", "%")
SCORES = (0, 1, 1, 2, -1, MOST, -MOST)

users, regions = st.sampled_from(USERS), st.sampled_from(REGIONS)
scores = st.sampled_from(SCORES)
names = st.sampled_from(["N", "名前", 'q"{}'])

operations = st.one_of(
    st.tuples(st.just("register"), users, names, regions, scores),
    st.tuples(st.just("create"), users, names, regions, scores),
    st.tuples(st.just("put"), users, st.none() | names, regions, scores),
    st.tuples(st.just("put"), users, st.none() | names, regions, scores),
    st.tuples(st.just("set"), users, scores),
    st.tuples(st.just("add"), users, scores),
    st.tuples(st.just("top"), regions, st.integers(1, 12), st.integers(0, 12)),
    st.tuples(st.just("rank"), regions, users),
    st.tuples(st.just("around"), regions, users, st.integers(1, 5)),
)


def outcome(response: httpx.Response) -> int | str:
    body = response.json()
    if "error" in body:
        return str(body["error"])
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
    if kind == "top":
        response = await api.get("/top", region=region, limit=rest[0], offset=rest[1])
        expected = model.top(region, rest[0], rest[1])
    elif kind == "rank":
        response = await api.get(f"/rank/{quote(rest[0], safe='')}", region=region)
        expected = model.rank(region, rest[0])
    else:
        response = await api.get(f"/around/{quote(rest[0], safe='')}", region=region, range=rest[1])
        expected = model.around(region, rest[0], rest[1])
    if expected is None:
        assert (response.status_code, response.json()["found"]) == (404, False)
    else:
        assert response.json() == expected, operation


async def play(api: Api, plan: list[tuple[Any, ...]], world: int) -> None:
    """Do and compare; each world has players of its own, because a player's home never changes."""
    model = Model()
    for operation in plan:
        place = 1 if operation[0] not in ("top", "rank", "around") else 2
        if operation[0] != "top":
            operation = (*operation[:place], f"{world}:{operation[place]}", *operation[place + 1 :])
        await (read if operation[0] in ("top", "rank", "around") else write)(api, model, operation)
    for region in REGIONS:
        await read(api, model, ("top", region, 1000, 0))
        for user_id in model.players:
            await read(api, model, ("rank", region, user_id))
            for reach in (1, 2):
                await read(api, model, ("around", region, user_id, reach))


@pytest.mark.parametrize("shards", [1, 2], ids=["one-redis", "two-redis"])
def test_random_writes_and_reads_give_the_boards_of_the_model(
    shards: int, environ: dict[str, str], sharded_environ: dict[str, str], infra: Infrastructure
) -> None:
    chosen = sharded_environ if shards == 2 else environ
    with asyncio.Runner() as runner:

        async def start() -> tuple[Any, Api]:
            databases = await RegionDatabases.open(load(TopologySettings, chosen))
            for region in databases.regions:
                await databases[region].execute("DELETE FROM leaderboard; DELETE FROM accounts")
            await flush(infra)
            await mark_ready(chosen, databases)
            await databases.close()
            context = running_service(chosen)
            return context, await context.__aenter__()

        context, api = runner.run(start())
        ready = {url: _ready_of(url) for url in infra.redis_urls}

        worlds = itertools.count()

        @given(st.lists(operations, min_size=1, max_size=25))
        @settings(max_examples=25, suppress_health_check=list(HealthCheck))
        def examples(plan: list[tuple[Any, ...]]) -> None:
            for url, marker in ready.items():
                with redis.Redis.from_url(url, decode_responses=True) as client:
                    client.flushdb()
                    if marker is not None:
                        client.set("shard:ready", marker)
            runner.run(play(api, plan, next(worlds)))

        try:
            examples()
        finally:
            runner.run(context.__aexit__(None, None, None))


async def flush(infra: Infrastructure) -> None:
    for url in infra.redis_urls:
        with redis.Redis.from_url(url) as client:
            client.flushdb()


def _ready_of(url: str) -> str | None:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        value = client.get("shard:ready")
        return None if value is None else str(value)
