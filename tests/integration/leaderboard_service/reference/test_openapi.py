"""The OpenAPI document is true: its paths are the routes, and answers fit the schemas it gives for them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import redis.asyncio as redis

import leaderboard_client
from leaderboard_core import calls
from leaderboard_core.boards import Rules
from leaderboard_core.calls import CALLS
from leaderboard_core.errors import all_errors
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.admission import REPARTITIONING
from leaderboard_core.settings import MAX_EXACT_INTEGER
from tests.conftest import Start
from tests.integration.api_gateway.support import gateway, services
from tests.support.events import listening
from tests.support.service import REGIONS, Api


def check(value: Any, schema: dict[str, Any], document: dict[str, Any], where: str = "answer") -> None:
    """The parts of JSON Schema that the document uses; an unknown part fails."""
    known = {"$ref", "type", "properties", "required", "items", "anyOf", "minLength", "maxLength", "pattern"}
    known |= {"minimum", "maximum", "title", "description", "examples", "default", "additionalProperties", "format"}
    known |= {"enum", "maxItems"}
    assert set(schema) <= known, f"{where}: this check does not know {set(schema) - known}"
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        check(value, document["components"]["schemas"][name], document, where)
        return
    if "anyOf" in schema:
        problems = []
        for option in schema["anyOf"]:
            try:
                check(value, option, document, where)
            except AssertionError as problem:
                problems.append(str(problem))
        assert len(problems) < len(schema["anyOf"]), f"{where}: {problems}"
        return
    types: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
        "number": (int, float),
        "null": type(None),
    }
    assert value in schema.get("enum", [value]), f"{where} is {value!r}"
    if kind := schema.get("type"):
        assert isinstance(value, types[kind]), f"{where} is {value!r}, not {kind}"
        assert kind != "integer" or type(value) is int, f"{where} is {value!r}, not a number"
    if isinstance(value, str):
        assert schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9), where
    if type(value) is int:
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), where
    if isinstance(value, list):
        assert len(value) <= schema.get("maxItems", len(value)), where
        for number, item in enumerate(value):
            check(item, schema["items"], document, f"{where}[{number}]")
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            assert name in value, f"{where} has no {name}"
        properties = schema.get("properties", {})
        more = schema.get("additionalProperties")
        if isinstance(more, dict):
            for name in set(value) - set(properties):
                check(value[name], more, document, f"{where}.{name}")
        elif more is not True:
            assert set(value) <= set(properties), f"{where} has {set(value) - set(properties)}, which is not documented"
        for name, part in properties.items():
            if name in value:
                check(value[name], part, document, f"{where}.{name}")


class Checked:
    """Calls the API and holds every answer against the document."""

    def __init__(self, api: Api, document: dict[str, Any]) -> None:
        self.api = api
        self.document = document
        self.seen: set[tuple[str, str, str, str]] = set()

    async def call(self, method: str, path: str, template: str | None = None, **kwargs: Any) -> httpx.Response:
        response = await self.api.http.request(method, path, **kwargs)
        template = template or path
        operation = self.document["paths"][template][method.lower()]
        status = str(response.status_code)
        assert status in operation["responses"], f"{method} {template} answered {status}: {response.text[:200]}"
        content = operation["responses"][status].get("content", {})
        media = response.headers["content-type"].split(";")[0]
        assert media in content, f"{method} {template} {status} has {media}"
        code = ""
        if media == "application/json":
            check(response.json(), content[media]["schema"], self.document, f"{method} {template} {status}")
            code = response.json().get("error", "")
            if code:
                assert code in content[media]["examples"], f"{method} {template} {status} answered {code}"
        self.seen.add((method, template, status, code))
        return response

    async def listen(self, path: str, template: str, act: Callable[[], Awaitable[Any]]) -> None:
        """Hold the first event of a stream, and the one after `act`, against the document."""
        content = self.document["paths"][template]["get"]["responses"]["200"]["content"]
        async with listening(str(self.api.http.base_url), path) as listener:
            media = listener.headers["content-type"].split(";")[0]
            for happens, name in ((None, "snapshot"), (act, "change")):
                if happens is not None:
                    await happens()
                event = await listener.next()
                assert event.name == name
                check(event.data, content[media]["schema"], self.document, f"{template} {name}")
        self.seen.add(("GET", template, "200", ""))


@pytest.fixture
async def document(api: Api) -> dict[str, Any]:
    response = await api.get("/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


async def test_the_documented_paths_are_those_of_the_api(api: Api, document: dict[str, Any]) -> None:
    operations = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert operations == {
        ("POST", "/auth/register"),
        ("POST", "/auth/login"),
        ("POST", "/score/create"),
        ("POST", "/scores"),
        ("POST", "/score/update"),
        ("POST", "/score/add"),
        ("POST", "/score"),
        ("GET", "/regions"),
        ("GET", "/top"),
        ("GET", "/users/{user_id}/entries"),
        ("GET", "/range"),
        ("POST", "/ranks"),
        ("GET", "/rank/{user_id}"),
        ("GET", "/around/{user_id}"),
        ("GET", "/stream/top"),
        ("GET", "/stream/rank/{user_id}"),
        ("GET", "/boards"),
        ("GET", "/boards/{board}"),
        ("PUT", "/boards/{board}"),
        ("DELETE", "/boards/{board}"),
        ("DELETE", "/boards/{board}/entries/{user_id}"),
        ("GET", "/users/{user_id}"),
        ("DELETE", "/users/{user_id}"),
        ("PUT", "/users/{user_id}/password"),
        ("POST", "/users/{user_id}/secret"),
        ("GET", "/health"),
        ("GET", "/status"),
        ("GET", "/metrics"),
    }
    assert {(call.method, call.path) for call in CALLS} == operations


@pytest.mark.layout(
    "one-redis", why="a player's other region may be on another Redis, where nobody knows of a region_mismatch"
)
async def test_answers_are_as_documented(
    start: Start, document: dict[str, Any], all_redis: redis.Redis, databases: RegionDatabases
) -> None:
    api = await start(QUEUE_REJECT_LENGTH=50, LOGIN_RATE_LIMIT_COUNT=9, LOGIN_RATE_LIMIT_WINDOW=86_400)
    checked = Checked(api, document)
    call = checked.call
    body = {"user_id": "alice", "name": "Alice", "region": "EU", "initialScore": 5}
    token = (await call("POST", "/auth/register", json=body)).json()["token"]
    own = {"Authorization": f"Bearer {token}"}
    server = {"Authorization": f"Bearer {api.server_token()}"}
    new = {"Authorization": f"Bearer {api.player_token('new', 'EU')}"}
    nobody = {"Authorization": f"Bearer {api.player_token('nobody', 'EU')}"}
    login = {"user_id": "alice", "name": "Alice"}
    submit = {"user_id": "alice", "region": "EU", "score": 7}

    await call("POST", "/auth/register", json=body)
    await call("POST", "/auth/register", json={})
    await call("POST", "/auth/register", content=b"x" * 2_000_000)
    for path in ("/auth/register", "/auth/login", "/score/create", "/score/update", "/score/add", "/score", "/ranks"):
        await call("POST", path, json={}, headers={**own, "Content-Encoding": "gzip"})
    await call("POST", "/scores", json={}, headers={**server, "Content-Encoding": "gzip"})
    await change(checked, PASSWORD_OF, "alice", content=b"{}", headers={**server, "Content-Encoding": "gzip"})
    await call("POST", "/auth/login", json=login)
    await call("POST", "/auth/login", json={**login, "name": "Bob"})
    await call("POST", "/auth/login", json={**login, "user_id": "bob"})
    await call("POST", "/auth/login", json={**login, "region": "NA"})
    await call("POST", "/auth/login", json={**login, "region": "MARS"})
    await call("POST", "/auth/login", content=b"x" * 2_000_000)
    for _ in range(10):
        await call("POST", "/auth/login", json={**login, "name": "Bob"})
    await call("POST", "/score/create", json={"region": "EU"}, headers=new)
    await call("POST", "/score/create", json={"region": "EU"}, headers=new)
    await call("POST", "/score/create", json={"region": "NA"}, headers=new)
    for path, good in (
        ("/score/create", {"region": "EU"}),
        ("/score/update", {"score": 1}),
        ("/score/add", {"delta": 1}),
        ("/score", submit),
    ):
        await call("POST", path, json=good)
        await call("POST", path, json=good, headers={**own, "Idempotency-Key": f"key-{path}"})
        await call("POST", path, json={**good, "x": 1}, headers={**own, "Idempotency-Key": f"key-{path}"})
        await call("POST", path, json=[], headers=own)
        await call("POST", path, content=b"x" * 2_000_000, headers=own)
        if path != "/score":
            await call("POST", path, json=good, headers=server)
        if path in ("/score/update", "/score/add"):
            await call("POST", path, json=good, headers=nobody)
            moved = {"Authorization": f"Bearer {api.player_token('alice', 'NA')}"}
            await call("POST", path, json=good, headers=moved)
    await call("POST", "/score", json={**submit, "user_id": "made"}, headers=server)
    await call("POST", "/score", json=submit, headers=new)
    await call("POST", "/score", json={**submit, "user_id": "nobody"}, headers=nobody)
    await call("POST", "/score", json={**submit, "region": "NA"}, headers=server)
    await call("POST", "/scores", json={"scores": [submit, {}]}, headers=server)
    await call("POST", "/scores", json={"scores": [submit]})
    await call("POST", "/scores", json={"scores": [submit]}, headers=own)
    await call("POST", "/scores", json={"scores": []}, headers=server)
    await call("POST", "/scores", content=b"x" * 2_000_000, headers=server)
    await call("GET", "/regions")
    for query in ("?min=0", "?from=1&to=2", "", "?min=0&to=1"):
        await call("GET", f"/range{query}", "/range")
    await call("POST", "/ranks", json={"user_ids": ["alice", "nobody"]})
    await call("POST", "/ranks", json={"user_ids": []})
    await call("POST", "/ranks", content=b"x" * 2_000_000)
    for query in ("", "?region=mars", "?limit=0"):
        await call("GET", f"/top{query}", "/top")
        await call("GET", f"/rank/alice{query}", "/rank/{user_id}") if "limit" not in query else None
        await call("GET", f"/around/alice{query}", "/around/{user_id}") if "limit" not in query else None
    for read in ("rank", "around"):
        await call("GET", f"/{read}/nobody", f"/{read}/{{user_id}}")

    async def add() -> None:
        assert (await call("POST", "/score/add", json={"delta": 1}, headers=own)).status_code == 200

    await checked.listen("/stream/top", "/stream/top", add)
    await checked.listen("/stream/rank/alice", "/stream/rank/{user_id}", add)
    for query in ("region=mars", "limit=0", "limit=101"):
        await call("GET", f"/stream/top?{query}", "/stream/top")
    for query in ("region=mars", "range=-1", "range=11"):
        await call("GET", f"/stream/rank/alice?{query}", "/stream/rank/{user_id}")
    await call("GET", "/stream/rank/nobody", "/stream/rank/{user_id}")
    locked = {"user_id": "locked", "name": "Locked", "region": "EU", "password": "correct horse battery"}
    await call("POST", "/auth/register", json=locked)
    moved = {"Authorization": f"Bearer {api.player_token('alice', 'NA')}"}
    for path in (PASSWORD_OF, SECRET_OF):
        for user_id, headers in (
            ("alice", {}),
            ("alice", {"Authorization": "Bearer abc"}),
            ("alice", new),
            ("alice", moved),
            ("nobody", server),
            ("a%20b", server),
            ("locked", own),
            ("locked", server),
        ):
            await change(checked, path, user_id, headers=headers)
    await change(checked, PASSWORD_OF, "alice", secret="not the secret")
    await change(checked, PASSWORD_OF, "alice", content=b"x" * 2_000_000)
    for _ in range(10):
        await change(checked, PASSWORD_OF, "locked", old_password="not the password")
    for method, who in (("GET", server), ("DELETE", {**server, "Idempotency-Key": "bye"})):
        for user_id, headers in (
            ("alice", {}),
            ("alice", {"Authorization": "Bearer abc"}),
            ("alice", new),
            ("alice", moved),
            ("nobody", server),
            ("a%20b", server),
            ("locked", who),
            ("alice", who),  # the key is another request's
            ("alice", own),
        ):
            await call(method, f"/users/{user_id}", "/users/{user_id}", headers=headers)
    own = {"Authorization": f"Bearer {(await call('POST', '/auth/register', json=body)).json()['token']}"}
    await call("GET", "/health")
    await call("GET", "/status")
    await call("GET", "/metrics")
    await refused(checked)
    await define_boards(checked, databases, own)
    await write_to_boards(checked)
    checked.api = await start(MAX_SCORE=-1)
    await write_everywhere(checked)
    token = {"Authorization": f"Bearer {api.player_token('bound', 'EU')}"}
    await call("POST", "/score/create", json={"region": "EU", "initialScore": 1}, headers=token)
    await call("POST", "/auth/register", json={"user_id": "bound", "name": "x", "region": "EU", "initialScore": 1})
    checked.api = await start(REGISTRATION="closed")
    await call("POST", "/auth/register", json={"user_id": "bound", "name": "x", "region": "EU"})
    checked.api = await start(REGISTRATION_RATE_LIMIT_COUNT=1)
    for user_id in ("one-too", "many"):
        body = {"user_id": user_id, "name": "x", "region": "EU"}
        await call("POST", "/auth/register", json=body, headers={"X-Forwarded-For": "203.0.113.7"})
    for limit in ("USER_RATE_LIMIT_COUNT", "REGION_RATE_LIMIT_PER_SEC"):
        checked.api = await start(**{limit: 1})
        await write_everywhere(checked, twice=True)
        for _ in range(2):
            # A player whose card is gone, and whose bucket is not full again.
            await all_redis.delete("user:new")
            for board in ("leaderboard:EU", "leaderboard:GLOBAL"):
                await all_redis.zrem(board, "new")
            await call("POST", "/score/create", json={"region": "EU"}, headers=new)
    await first_password_in_a_busy_region(checked)
    checked.api = api

    await call("POST", "/auth/register", json={"user_id": "late", "name": "Late", "region": "EU"})
    await all_redis.lpush("queue:scores:EU", *["x"] * 50)
    await write_everywhere(checked)
    await remove_an_entry(checked)
    await change(checked, PASSWORD_OF, "late", headers=server)
    await call("DELETE", "/users/alice", "/users/{user_id}", headers=own)
    admission = await all_redis.get("shard:admission")
    for closed in (f"{admission!s} {REPARTITIONING}", "closed"):
        await all_redis.set("shard:admission", closed)
        await write_everywhere(checked)
        await remove_an_entry(checked)
        await call("DELETE", "/users/alice", "/users/{user_id}", headers=own)
    checked.api = await start(STREAM_BOARDS=1)
    async with listening(str(checked.api.http.base_url), "/stream/top?region=NA"):
        await call("GET", "/stream/top")
        await call("GET", "/stream/rank/alice", "/stream/rank/{user_id}")
    checked.api = await start(STREAM_MAX_LISTENERS=0)
    await call("GET", "/stream/top")
    await call("GET", "/stream/rank/alice", "/stream/rank/{user_id}")
    # No Redis at all: reads and writes say so as documented, and so does /health.
    away = await start(ready=False, REDIS_URL="redis://127.0.0.1:1/0", BOARDS_MAX="0")
    checked.api = away
    await write_everywhere(checked)
    await remove_an_entry(checked)
    admin = {"Authorization": f"Bearer {api.admin_token()}"}
    await databases["GLOBAL"].execute(sql.load("ensure_board"), "season-2", 17, Rules().encode())
    await call("PUT", "/boards/main", BOARD, json={"title": "x"}, headers=admin)
    await call("PUT", "/boards/season-3", BOARD, json={}, headers=admin)
    await call("DELETE", "/boards/season-2", BOARD, headers=admin)
    await call("GET", "/health")
    await call("GET", "/status")
    nowhere = {f"DATABASE_URL_{region}": "postgresql://nobody@127.0.0.1:1/x" for region in REGIONS}
    checked.api = await start(ready=False, REDIS_URL="redis://127.0.0.1:1/0", **nowhere)
    await call("GET", "/top")
    await call("GET", "/users/runner/entries", ENTRIES_OF)
    await call("GET", "/boards")
    await call("GET", "/boards/main", BOARD)
    await call("PUT", "/boards/main", BOARD, json={"title": "x"}, headers=admin)
    await call("DELETE", "/boards/season-2", BOARD, headers=admin)
    await call("GET", "/range?min=1", "/range")
    await call("POST", "/ranks", json={"user_ids": ["alice"]})
    await call("GET", "/rank/alice", "/rank/{user_id}")
    await call("GET", "/around/alice", "/around/{user_id}")
    await call("DELETE", "/users/alice", "/users/{user_id}", headers=own)
    await call("GET", "/users/alice", "/users/{user_id}", headers=own)

    documented = {
        (method.upper(), path, status, code)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for status, answer in operation["responses"].items()
        if status.isdigit() and (path, status) not in GATEWAYS_REFUSALS
        for code in (codes_of(answer) if status >= "400" else ()) or ("",)
    }
    missing = sorted(documented - checked.seen)
    assert not missing, f"documented, and never seen here: {missing}"


GATEWAYS_REFUSALS = {
    *(("/status", "403"), ("/metrics", "403")),  # by STATUS_ALLOW
    *(("/stream/top", "429"), ("/stream/rank/{user_id}", "429")),  # by STREAMS_PER_ADDRESS
}


async def test_what_a_gateway_refuses_by_itself_is_documented(api: Api, document: dict[str, Any]) -> None:
    async with services(1) as (service,), gateway(service, streams_per_address=1) as gate:
        checked = Checked(dataclasses.replace(api, http=gate.client), document)
        of_player = {"X-Forwarded-For": "203.0.113.9"}
        with gate.parts.proxy.streams.place("203.0.113.9"):
            await checked.call("GET", "/stream/top", headers=of_player)
            await checked.call("GET", "/stream/rank/alice", "/stream/rank/{user_id}", headers=of_player)
        for path in ("/status", "/metrics"):
            await checked.call("GET", path, headers=of_player)
    assert {(path, status) for _, path, status, _ in checked.seen} == GATEWAYS_REFUSALS


WRITES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/score/create", {"region": "EU"}),
    ("/score/update", {"score": 1}),
    ("/score/add", {"delta": 1}),
    ("/score", {"user_id": "alice", "region": "EU", "score": 7}),
)


BOARD = calls.BOARD.path


async def define_boards(checked: Checked, databases: RegionDatabases, own: dict[str, str]) -> None:
    """State, read and take away definitions, rightly and wrongly, and write to a board that is closed."""
    call, admin = checked.call, {"Authorization": f"Bearer {checked.api.admin_token()}"}
    for _ in range(2):
        await call("PUT", "/boards/season-1", BOARD, json={"order": "asc"}, headers=admin)
    await call("GET", "/boards")
    await call("GET", "/boards/season-1", BOARD)
    await call("GET", f"/boards?cursor={'x' * 65}", "/boards")
    for name in ("main", "kills", "Kills"):
        await call("GET", f"/boards/{name}", BOARD)
        await call("PUT", f"/boards/{name}", BOARD, json={"order": "up"}, headers=admin)
        await call("DELETE", f"/boards/{name}", BOARD, headers=admin)
    for headers in ({}, {"Authorization": "Bearer abc"}, own, {**admin, "Origin": "https://another.example"}):
        await call("PUT", "/boards/main", BOARD, json={}, headers=headers)
        await call("DELETE", "/boards/main", BOARD, headers=headers)
    for board in ("main", "season-1"):
        await call("PUT", f"/boards/{board}", BOARD, json={"order": "desc", "ties": "earliest"}, headers=admin)
    await call("PUT", "/boards/main", BOARD, json={}, headers={**admin, "Content-Encoding": "gzip"})
    await call("PUT", "/boards/main", BOARD, content=b"x" * 20_000, headers=admin)
    await call("DELETE", "/boards/season-1", BOARD, headers=admin)
    await call("PUT", "/boards/main", BOARD, json={"open": False}, headers=admin)
    await write_everywhere(checked)
    card = {"Authorization": f"Bearer {checked.api.player_token('card', 'EU')}"}
    await call("POST", "/score/create", json={"region": "EU", "initialScore": 1}, headers=card)
    await call("POST", "/auth/register", json={"user_id": "card", "name": "x", "region": "EU", "initialScore": 1})
    await call("PUT", "/boards/main", BOARD, json={}, headers=admin)


ENTRIES_OF = "/users/{user_id}/entries"
ENTRY = calls.REMOVE_ENTRY.path


async def write_to_boards(checked: Checked) -> None:
    """Write to boards of each operator, read them, and take entries off, rightly and wrongly."""
    call, api = checked.call, checked.api
    admin = {"Authorization": f"Bearer {api.admin_token()}"}
    for name, rules in (("trials", {"operator": "best", "max_submits": 3}), ("coins", {"operator": "sum"})):
        await call("PUT", f"/boards/{name}", BOARD, json=rules, headers=admin)
    player = {"user_id": "runner", "name": "Runner", "region": "EU"}
    await call("POST", "/auth/register", json=player)
    own = {"Authorization": f"Bearer {api.player_token('runner', 'EU')}"}
    item = {"user_id": "runner", "region": "EU", "score": MAX_EXACT_INTEGER}
    for path, body in (("/score/update", {"score": 1}), ("/score/add", {"delta": 1}), ("/score", item)):
        for board in ("coins", "trials", "coins", "trials", "nowhere"):
            await call("POST", path, json={**body, "board": board}, headers=own)
        await call("POST", path, json={**body, "metadata": {"a": 1}}, headers=own)
    # Three submits are used up, and what adds has been at its end.
    for path, body in (("/score/update", {"score": 1}), ("/score", item)):
        await call("POST", path, json={**body, "board": "trials"}, headers=own)
    await call("PUT", "/boards/tries", BOARD, json={"max_submits": 1}, headers=admin)
    for path, body in (("/score/add", {"delta": 1}), ("/score/add", {"delta": 1})):
        await call("POST", path, json={**body, "board": "tries"}, headers=own)
    await call("POST", "/score", json={**item, "board": "tries"}, headers=own)
    for path, template in (("/rank/new", "/rank/{user_id}"), ("/around/new", "/around/{user_id}")):
        for board in ("coins", "nowhere"):
            await call("GET", f"{path}?board={board}", template)
    for path in ("/top?", "/range?min=0&"):
        await call("GET", f"{path}board=nowhere", path.partition("?")[0])
    await call("GET", "/stream/top?board=nowhere", "/stream/top")
    for board in ("coins", "nowhere"):
        await call("GET", f"/stream/rank/new?board={board}", "/stream/rank/{user_id}")
    for entries in ("runner/entries", "nobody/entries", "runner/entries?cursor=A"):
        await call("GET", f"/users/{entries}", ENTRIES_OF)
    await call("POST", "/ranks", json={"user_ids": ["runner"], "board": "nowhere"})
    await call("POST", "/scores", json={"scores": [item]}, headers=admin)
    for board in ("trials", "trials", "main", "nowhere", "Nowhere"):
        await call("DELETE", f"/boards/{board}/entries/runner", ENTRY, headers=admin)
    await call("DELETE", "/boards/trials/entries/nobody", ENTRY, headers=admin)
    for headers in ({}, {"Authorization": "Bearer abc"}, own, {**admin, "Origin": "https://another.example"}):
        await call("DELETE", "/boards/trials/entries/runner", ENTRY, headers=headers)


async def remove_an_entry(checked: Checked) -> None:
    """Take an entry off that another one has, so that there is always one."""
    admin = {"Authorization": f"Bearer {checked.api.admin_token()}"}
    await checked.call("DELETE", "/boards/coins/entries/runner", ENTRY, headers=admin)


PASSWORD_OF, SECRET_OF = calls.SET_PASSWORD.path, calls.NEW_SECRET.path


async def write_everywhere(checked: Checked, *, twice: bool = False) -> None:
    """Every write once, or twice at once, which a limit of one write refuses."""
    own = {"Authorization": f"Bearer {checked.api.player_token('alice', 'EU')}"}
    server = {"Authorization": f"Bearer {checked.api.server_token()}"}
    for _ in range(1 + twice):
        for path, good in WRITES[1:]:
            await checked.call("POST", path, json=good, headers=own)
        await checked.call("POST", "/scores", json={"scores": [WRITES[-1][1]]}, headers=server)
        new = {"user_id": f"new-{secrets.token_hex(4)}", "name": "New", "region": "EU"}
        await checked.call("POST", "/auth/register", json=new)
        token = checked.api.player_token(f"new-{secrets.token_hex(4)}", "EU")
        await checked.call("POST", "/score/create", json={"region": "EU"}, headers={"Authorization": f"Bearer {token}"})
    await checked.call("POST", "/auth/login", json={"user_id": "alice", "name": "Alice"})
    for path in (PASSWORD_OF, SECRET_OF):
        for _ in range(1 + twice):
            await change(checked, path, "alice", headers=server)


async def first_password_in_a_busy_region(checked: Checked) -> None:
    """Set a first password while others take the region's tokens, again for who got one."""
    server = {"Authorization": f"Bearer {checked.api.server_token()}"}
    number = 0
    while ("PUT", PASSWORD_OF, "429", "region_rate_limited") not in checked.seen:
        number += 1
        body = {"user_id": f"busy-{number}", "region": "EU", "score": 1}
        while (await checked.call("POST", "/score", json=body, headers=server)).status_code != 200:
            await asyncio.sleep(0.1)  # until the region has a token again
        setting = asyncio.create_task(change(checked, PASSWORD_OF, f"busy-{number}", headers=server))
        while not setting.done():
            await checked.call("POST", "/score", json=body, headers=server)
        await setting


async def change(
    checked: Checked, path: str, user_id: str, *, headers: Any = None, content: Any = None, **proof: str
) -> None:
    """Set a player's password, or ask for a new secret."""
    body: dict[str, Any] = {"content": content}
    if path == PASSWORD_OF and content is None:
        body = {"json": {"password": "another long password", **proof}}
    method = "PUT" if path == PASSWORD_OF else "POST"
    await checked.call(method, path.replace("{user_id}", user_id), path, headers=headers or {}, **body)


async def refused(checked: Checked) -> None:
    """What every call of a kind refuses in the same way."""
    own = {"Authorization": f"Bearer {checked.api.player_token('alice', 'EU')}"}
    astray = {"Authorization": f"Bearer {checked.api.player_token('alice', 'MARS')}"}
    for path, good in (*WRITES, ("/scores", {"scores": [WRITES[-1][1]]})):
        await checked.call("POST", path, json=good, headers={"Authorization": "Bearer abc"})
    for path, good in WRITES:
        elsewhere = {**good, "region": "MARS"} if "region" in good else good
        await checked.call("POST", path, json=elsewhere, headers=astray)
    foreign = {"Origin": "https://another.example"}
    for path in (*(path for path, _ in WRITES), "/scores", "/auth/register", "/auth/login"):
        assert (await checked.call("POST", path, headers=foreign)).status_code == 403
    await checked.call("DELETE", "/users/alice", "/users/{user_id}", headers=foreign)
    for path in (PASSWORD_OF, SECRET_OF):
        await change(checked, path, "alice", headers=foreign)
    key = {"Authorization": f"Bearer {checked.api.player_token('keyed', 'EU')}", "Idempotency-Key": "one"}
    for score in (1, 2):
        await checked.call("POST", "/score/create", json={"region": "EU", "initialScore": score}, headers=key)
    await checked.call("POST", "/score/add", json={"delta": MAX_EXACT_INTEGER}, headers=own)
    new = {"user_id": "new", "name": "New", "region": "MARS"}
    await checked.call("POST", "/auth/register", json=new)
    await checked.call("POST", "/auth/login", json={})
    await checked.call("GET", "/range?min=1&region=mars", "/range")
    await checked.call("POST", "/ranks", json={"user_ids": ["alice"], "region": "mars"})
    for path in ("/rank/{user_id}", "/around/{user_id}"):
        await checked.call("GET", path.replace("{user_id}", "x" * 129), path)


def codes_of(answer: dict[str, Any]) -> list[str]:
    """The error codes that an answer of the document has examples of."""
    return list(answer.get("content", {}).get("application/json", {}).get("examples", {}))


async def test_bodies_and_parameters_are_documented(document: dict[str, Any]) -> None:
    expected = {
        "/auth/register": ({"user_id", "name", "region"}, {"initialScore", "password"}),
        "/auth/login": ({"user_id"}, {"name", "region", "password", "secret"}),
        "/score/create": ({"region"}, {"initialScore"}),
        "/score/update": ({"score"}, {"rank", "board", "metadata"}),
        "/score/add": ({"delta"}, {"rank", "board", "metadata"}),
        "/score": ({"user_id", "region", "score"}, {"name", "rank", "board", "metadata", "force"}),
        "/scores": ({"scores"}, set()),
        "/ranks": ({"user_ids"}, {"region", "board", "metadata"}),
    }
    for path, (required, optional) in expected.items():
        operation = document["paths"][path]["post"]
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        assert set(schema["required"]) == required
        assert set(schema["properties"]) == required | optional
        headers = [parameter["name"] for parameter in operation.get("parameters", ())]
        assert ("Idempotency-Key" in headers) is path.startswith("/score")
        assert operation["security"] == ([{"bearer": []}] if path.startswith("/score") else [])
    for path, names in (
        ("/top", {"board", "region", "limit", "offset", "cursor", "metadata"}),
        ("/range", {"board", "region", "min", "max", "from", "to", "limit", "cursor", "metadata"}),
        ("/rank/{user_id}", {"board", "user_id", "region", "metadata"}),
        ("/around/{user_id}", {"board", "user_id", "region", "range", "metadata"}),
        ("/stream/top", {"board", "region", "limit", "last_event_id", "metadata"}),
        ("/stream/rank/{user_id}", {"board", "user_id", "region", "range", "last_event_id", "metadata"}),
    ):
        parameters = document["paths"][path]["get"]["parameters"]
        assert {parameter["name"] for parameter in parameters} == names


async def test_what_needs_a_token_says_so_and_only_writes_take_a_key(document: dict[str, Any]) -> None:
    for method, has_key in (("get", False), ("delete", True)):
        operation = document["paths"]["/users/{user_id}"][method]
        assert operation["security"] == [{"bearer": []}]
        names = [parameter["name"] for parameter in operation["parameters"]]
        assert names == (["user_id", "Idempotency-Key"] if has_key else ["user_id"])


def schemas_in(part: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object of the document that has a type, wherever it stands outside of examples."""
    if isinstance(part, dict):
        if isinstance(part.get("type"), str):
            yield part
        for name, inner in part.items():
            if name not in ("example", "examples"):
                yield from schemas_in(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from schemas_in(inner)


async def test_every_integer_has_64_bits(document: dict[str, Any]) -> None:
    """Without a format, half of the generators make fields of 32 bits, in which neither scores nor times fit."""
    integers = [schema for schema in schemas_in(document) if schema["type"] == "integer"]
    assert len(integers) > 50
    for schema in integers:
        assert schema.get("format") == "int64", schema
        bounds = [schema[name] for name in ("minimum", "maximum", "default") if name in schema]
        assert [bound for bound in bounds if type(bound) is not int] == [], schema
    assert '"maximum":9007199254740991,' in json.dumps(document, separators=(",", ":"))


async def test_every_object_has_a_name(document: dict[str, Any]) -> None:
    """Generators call the inline ones Inner1 and the like."""
    named = list(document["components"]["schemas"].values())
    inline = [schema for schema in schemas_in(document) if "properties" in schema and schema not in named]
    assert inline == []
    assert {"BatchItem", "RedisHealth", "PostgresHealth", "UpstreamHealth"} <= document["components"]["schemas"].keys()


async def test_names_suit_generated_clients(document: dict[str, Any]) -> None:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    for operation in operations:
        identifier = operation["operationId"]
        assert "_" in identifier or identifier == "login", f"{identifier} may be a reserved word"
        names = [re.sub(r"\W", "_", one["name"]).lower() for one in operation.get("parameters", ())]
        assert len(set(names)) == len(names)
        for parameter in operation.get("parameters", ()):
            assert "anyOf" not in parameter["schema"], (identifier, parameter["name"])
    package = document["info"]["title"].lower().replace(" ", "_") + "_client"
    assert package != leaderboard_client.__name__, "openapi-python-client would make a package of that name"


async def test_every_answer_is_described_and_every_call_has_a_default_one(document: dict[str, Any]) -> None:
    assert document["servers"][0]["url"] == "/"
    assert document["info"]["license"]["identifier"] == "MIT"
    for path, methods in document["paths"].items():
        for operation in methods.values():
            answers = operation["responses"]
            assert answers["default"] == {"$ref": "#/components/responses/Refused"}, path
            for status, answer in answers.items():
                assert "$ref" in answer or len(answer["description"]) > 5, path
                assert answer.get("description") not in ("Successful Response", "Service Unavailable"), (path, status)
    refused = document["components"]["responses"]["Refused"]["content"]["application/json"]["schema"]
    assert refused == {"$ref": "#/components/schemas/ErrorEnvelope"}


async def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    references = re.findall(r"#/components/(\w+)/(\w+)", str(document))
    assert {kind for kind, _ in references} == {"schemas", "examples", "responses"}
    for kind, name in references:
        assert name in document["components"][kind]
    assert set(document["components"]["examples"]) <= set(all_errors())


async def test_calls_parameters_and_fields_say_what_they_are(document: dict[str, Any]) -> None:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    for name in ("operationId", "summary"):
        assert len({operation[name] for operation in operations}) == len(operations)
    patterns = set(re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(document)))
    assert len(patterns) > 2
    for pattern in patterns:
        re.compile(json.loads(pattern))  # what the dialects share, so that generated clients understand it
    tags = {tag["name"] for tag in document["tags"]}
    for operation in operations:
        assert len(operation["summary"]) <= 72
        assert operation["description"].startswith(f"{operation['summary']}.")
        assert set(operation["tags"]) <= tags
        for parameter in operation.get("parameters", ()):
            assert parameter["description"].endswith("."), (operation["summary"], parameter["name"])
    bodies = [operation["requestBody"] for operation in operations if "requestBody" in operation]
    schemas = [body["content"]["application/json"]["schema"] for body in bodies]
    for schema in [*schemas, *document["components"]["schemas"].values()]:
        for name, field in schema.get("properties", {}).items():
            assert name == "ok" or field.get("description", "").endswith((".", ".)")), (schema["title"], name)
