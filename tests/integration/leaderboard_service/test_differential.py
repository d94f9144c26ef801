"""Compiled routes answer as FastAPI's own handlers of the same routes do, but for the differences that are listed here.

Every request goes both ways: compiled, and through FastAPI's own layers, which an application takes as soon as it has
`dependency_overrides`. Status, headers and body must be equal.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from tests.conftest import EMPTY, Start
from tests.docs.story import tell
from tests.support.service import Api
from tests.support.worker import EAGER
from worker_service.recovery.rebuild import rebuild

_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_MICROS = re.compile(r"\d{16}")
_SECRET = re.compile(r'"secret":"[0-9a-f]{32}"')
# One validator reads JSON, the other what Python's parser made of it.
_OBJECT = re.compile("an object|a valid dictionary( or object to extract fields from)?|a valid object")
_VOLATILE = re.compile(r'"(retry_after|last_seen_seconds|lag_seconds|clock_offset_seconds)":[-+e\d.]+')


class Seen(NamedTuple):
    """One answer, with what differs from moment to moment made equal."""

    request: str
    status: int
    headers: list[tuple[str, str]]
    body: str


async def _not_overridden() -> None:
    """Stands for any dependency: overriding it makes an application take FastAPI's own way."""


def take_own_way(api: Api, *, own: bool) -> None:
    api.app.dependency_overrides = {_not_overridden: _not_overridden} if own else {}


async def empty(all_redis: redis.Redis, databases: RegionDatabases) -> None:
    await all_redis.flushdb()
    await asyncio.gather(*(databases[region].execute(EMPTY) for region in databases.regions))


def seen(response: httpx.Response) -> Seen:
    # Secrets first: the digits of one in a few thousand look like a time.
    text = _SECRET.sub('"secret":"SECRET"', _TOKEN.sub("TOKEN", response.text))
    text = _VOLATILE.sub(r'"\1":0', _MICROS.sub("MICROS", text))
    text = _OBJECT.sub("an object", text)
    masked = text != response.text or "an object" in text
    headers = [
        (name.lower(), "masked" if name.lower() == "x-request-id" or (masked and name == "content-length") else value)
        for name, value in response.headers.items()
        if name.lower() != "date"
    ]
    request = response.request
    return Seen(f"{request.method} {request.url.raw_path.decode()}", response.status_code, sorted(headers), text)


async def test_every_example_of_the_documents(
    start: Start, all_redis: redis.Redis, databases: RegionDatabases, environ: dict[str, str]
) -> None:
    async def told(*, own: bool) -> list[Seen]:
        answers: list[Seen] = []

        async def keep(response: httpx.Response) -> None:
            if "event-stream" not in response.headers["content-type"]:
                await response.aread()
                answers.append(seen(response))

        async def start_one(**settings: Any) -> Api:
            api = await start(**settings)
            take_own_way(api, own=own)
            api.http.event_hooks = {"response": [keep]}
            return api

        await empty(all_redis, databases)
        await tell(start_one, all_redis, environ)
        return answers

    compiled, own = await told(own=False), await told(own=True)
    assert len(compiled) == len(own) > 40
    different = [pair for pair in zip(compiled, own, strict=True) if pair[0] != pair[1]]
    assert different == []


class Case(NamedTuple):
    """A request, and what is special about it: a key of DIFFERENCES, or nothing."""

    method: str
    target: str
    body: bytes | None
    headers: dict[str, str]
    special: str = ""


DIFFERENCES: dict[str, Callable[[Seen, Seen], bool]] = {
    # FastAPI parses a body before dependencies run: without a token it says 422 (or 400, for what is no UTF-8) where we
    # say 401, as a body of strangers is not worth reading. The words are those of another parser.
    "broken": lambda ours, theirs: ours.status in (401, 403, 422) and theirs.status in (400, 422),
    # Python's parser takes NaN and Infinity, and refuses numbers of thousands of digits with 400; JSON has neither.
    "number": lambda ours, theirs: ours.status in (401, 403, 422) and theirs.status in (400, 401, 403, 422),
    # FastAPI takes what is not called JSON for bytes; to us a body is JSON, whatever it is called.
    "type": lambda ours, theirs: theirs.status in (401, 403, 422),
}

_NUMBERS = [
    "0",
    "5",
    "-7",
    "250.0",
    "2.5e2",
    "1.5",
    '"5"',
    "true",
    "null",
    "9007199254740991",
    "9007199254740992",
    "{}",
]
_SPECIAL_NUMBERS = ["NaN", "Infinity", "1e400", "9" * 5000]
_TEXTS = ['"EU"', '"eu"', '"XX"', '""', "7", "null", '"a b"', '"ſ"', '"\\u0000"', '"' + "x" * 300 + '"', "[]"]
_BROKEN = [b"", b"{", b"\xff", b"[]", b"null", b'"text"', b'{"score":1}}', b'{"a":"\\ud800"}']
_QUERIES = ["", "region=EU", "region=eu", "region=XX", "region=", "limit=1", "limit=0", "limit=x", "limit=1&limit=2",
            "offset=-1", "offset=1", "cursor=abc", "cursor=abc&offset=1", "range=3", "range=1.0", "range=101", "min=1",
            "max=1&min=2", "from=1&to=2", "from=0", "unknown=1", "region=%FF", "limit=%31", "limit=+1", "min=1e2",
            "last_event_id=x", "region=EU&region=ASIA", "limit=1_0", "range= 5"]  # fmt: skip
_FIELDS = {
    "/score/create": ("region", "initialScore"),
    "/score/update": ("score",),
    "/score/add": ("delta",),
    "/score": ("user_id", "region", "score", "name"),
    "/scores": ("scores",),
    "/ranks": ("user_ids", "region"),
    "/auth/login": ("user_id", "name", "region", "password"),
    "/auth/register": ("user_id", "name", "region", "initialScore", "password"),
}
_READS = ("/top", "/range", "/rank/{}", "/around/{}", "/users/{}", "/rank/a%20b", "/rank/%2F", "/status/", "/nothing")
_PLAYER = "alice"


_JSON = {"Content-Type": "application/json", "Authorization": "Bearer PLAYER"}
_GOOD = (
    Case("POST", "/score/update", b'{"score": 7}', _JSON),
    Case("POST", "/score/add", b'{"delta": 5, "more": [1]}', {**_JSON, "Idempotency-Key": "k"}),
    Case("POST", "/score/create", b'{"region": "EU"}', _JSON),
    Case("POST", "/score", b'{"user_id": "alice", "region": "EU", "score": 3}', _JSON),
    Case("POST", "/ranks", b'{"user_ids": ["alice", "nobody"]}', {}),
    Case("POST", "/auth/login", b'{"user_id": "alice", "name": "alice"}', {}),
    Case("GET", f"/rank/{_PLAYER}?region=EU", None, {}),
    Case("GET", f"/around/{_PLAYER}?range=3", None, {}),
    Case("GET", "/range?min=1&limit=5", None, {}),
    Case("HEAD", "/top", None, {}),
    Case("GET", f"/users/{_PLAYER}", None, {"Authorization": "Bearer SERVER"}),
)


def make_case(chance: random.Random) -> Case:
    headers = {
        "none": {},
        "player": {"Authorization": "Bearer PLAYER"},
        "server": {"Authorization": "Bearer SERVER"},
        "bad": {"Authorization": "Bearer nonsense"},
        "scheme": {"authorization": "basic x"},
    }[chance.choice(["none", "player", "player", "player", "server", "bad", "scheme"])]
    if chance.random() < 0.3:
        key = chance.choice([f"key-{chance.randrange(10**6)}", "a b", "x" * 256, "ä", ""])
        headers = {**headers, "Idempotency-Key": key.encode().decode("latin-1")}
    if chance.random() < 0.15:
        return chance.choice(_GOOD)
    if chance.random() < 0.45:
        target = chance.choice(_READS).format(chance.choice([_PLAYER, "nobody", "x" * 129]))
        query = "&".join(chance.sample(_QUERIES, chance.choice([0, 1, 1, 2])))
        method = chance.choice(["GET", "GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS"])
        if method == "DELETE" and target == f"/users/{_PLAYER}":
            method = "GET"  # the player is needed for what follows
        return Case(method, f"{target}?{query}" if query else target, None, headers)
    path = chance.choice(list(_FIELDS))
    headers = {**headers, "Content-Type": "application/json"}
    if chance.random() < 0.15:
        return Case("POST", path, chance.choice(_BROKEN), headers, "broken")
    special, fields = "", []
    for name in chance.sample(_FIELDS[path], chance.randrange(len(_FIELDS[path]) + 1)):
        value = chance.choice(_NUMBERS if name in ("score", "delta", "initialScore") else _TEXTS)
        if name == "user_id" and chance.random() < 0.7:
            value = f'"{_PLAYER}"'
        if name in ("user_ids", "scores"):
            value = f"[{value}]"
        if chance.random() < 0.04:
            value, special = chance.choice(_SPECIAL_NUMBERS), "number"
        fields.append(f'"{name}":{value}')
    if (
        path in ("/ranks", "/auth/login") and chance.random() < 0.3
    ):  # a write would be done one way, and refused the other
        headers, special = {**headers, "Content-Type": "text/plain"}, "type"
    return Case("POST", path, f"{{{','.join(fields)}}}".encode(), headers, special)


async def ask(api: Api, case: Case, tokens: dict[str, str]) -> Seen:
    headers = {
        name: f"Bearer {tokens[value.removeprefix('Bearer ')]}" if value.removeprefix("Bearer ") in tokens else value
        for name, value in case.headers.items()
    }
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    return seen(await api.http.request(case.method, case.target, content=case.body, headers=raw))


@pytest.mark.parametrize("seed", range(4))
async def test_generated_requests(start: Start, redis_1: redis.Redis, databases: RegionDatabases, seed: int) -> None:
    chance = random.Random(seed)
    cases = [make_case(chance) for _ in range(150)]
    api = await start(LOGIN_RATE_LIMIT_COUNT=100_000)

    async def answers(*, own: bool) -> list[Seen]:
        await empty(redis_1, databases)
        await rebuild(api.services.shard_map.shards[0], databases, EAGER)
        take_own_way(api, own=own)
        await api.register(_PLAYER, "EU", 10)
        tokens = {"PLAYER": api.player_token(_PLAYER, "EU"), "SERVER": api.server_token()}
        return [await ask(api, case, tokens) for case in cases]

    statuses: Counter[int] = Counter()
    for case, ours, theirs in zip(cases, await answers(own=False), await answers(own=True), strict=True):
        assert ours.status < 500, (case, ours)
        statuses[ours.status] += 1
        allowed = DIFFERENCES.get(case.special)
        assert ours == theirs or (allowed is not None and allowed(ours, theirs)), (case, ours, theirs)
    assert statuses[200] > 10
    assert statuses[422] > 10


async def test_nan_is_refused_and_not_a_500(api: Api) -> None:
    """Stock FastAPI echoes what it refuses, and cannot write NaN as JSON."""
    token = await api.register("alice", "EU")
    for own in (False, True):
        take_own_way(api, own=own)
        answer = await api.post_raw("/score/update", b'{"score": NaN}', token=token)
        assert (answer.status_code, answer.json()["error"]) == (422, "invalid_payload")


async def test_a_broken_body_is_refused_after_the_token_was_looked_at(api: Api) -> None:
    for body in _BROKEN:
        answer = await api.post_raw("/score/update", body)
        assert (answer.status_code, answer.json()["error"]) == (401, "missing_token"), body
