"""Bad input, each with its envelope, nothing changed, and never a 500."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from typing import Any

import httpx
import jwt
import pytest
import redis.asyncio as redis

from leaderboard_core.boards import Place
from leaderboard_service.boards.cursors import encode
from leaderboard_service.boards.ranges import Point
from tests.support.redis_dump import dump
from tests.support.service import SECRET, Api

WRITES: dict[str, dict[str, Any]] = {
    "/auth/register": {"user_id": "new", "name": "New", "region": "EU"},
    "/auth/login": {"user_id": "alice", "name": "alice"},
    "/score/create": {"region": "EU"},
    "/score/update": {"score": 1},
    "/score/add": {"delta": 1},
    "/score": {"user_id": "alice", "region": "EU", "score": 1},
}
SCORE_PATHS = [path for path in WRITES if path.startswith("/score")]


def check_envelope(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = response.json()
    assert body["error"] == code, body
    assert isinstance(body["message"], str)
    assert body["message"]
    assert "Traceback" not in response.text
    return body


# Raw JSON numbers that are no score.
BAD_NUMBERS = (
    "1.5",
    "2.5e0",
    "9007199254740992.0",
    "1e300",
    '"5"',
    "true",
    "null",
    "[]",
    "{}",
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "9007199254740992",
    "-9007199254740992",
    "9" * 400,
    "9" * 4350,
    "0x10",
    "1_000",
    "01",
)


@pytest.mark.parametrize(
    ("number", "score"),
    [
        ("250.0", 250),
        ("2.5e2", 250),
        ("1e+14", 10**14),
        ("-1E2", -100),
        ("-0.0", 0),
        ("9007199254740991.0", 9007199254740991),
    ],
)
async def test_whole_numbers_are_taken_however_they_are_spelled(api: Api, number: str, score: int) -> None:
    token, server = await api.register("alice", "EU", 0), api.server_token()
    for path, body, caller in (
        ("/score/add", f'{{"delta": {number}}}', token),
        ("/score/update", f'{{"score": {number}}}', token),
        ("/score", f'{{"user_id": "alice", "region": "EU", "score": {number}}}', server),
        ("/scores", f'{{"scores": [{{"user_id": "alice", "region": "EU", "score": {number}}}]}}', server),
        ("/auth/register", f'{{"user_id": "b", "name": "B", "region": "EU", "initialScore": {number}}}', None),
    ):
        response = await api.post_raw(path, body, token=caller)
        assert response.status_code in (200, 201), response.text
        assert f'"score":{score},' in response.text or f'"score":{score}}}' in response.text


@pytest.mark.parametrize("number", BAD_NUMBERS, ids=lambda text: text[:20])
async def test_scores_that_are_not_whole_numbers_in_range(api: Api, all_redis: redis.Redis, number: str) -> None:
    token = await api.register("alice", "EU", 3)
    before = await dump(all_redis)
    for path, body in (
        ("/score/update", '{"score": %s}'),
        ("/score/add", '{"delta": %s}'),
        ("/score", '{"user_id": "alice", "region": "EU", "score": %s}'),
        ("/score/create", '{"region": "EU", "initialScore": %s}'),
        ("/auth/register", '{"user_id": "new", "name": "New", "region": "EU", "initialScore": %s}'),
    ):
        check_envelope(await api.post_raw(path, body % number, token=token), 422, "invalid_payload")
    assert await dump(all_redis) == before


BAD_USER_IDS = ("", " ", "a b", "a\tb", "a\nb", "a\0b", "a/b", "/", "\x7f", "\x85", "\u00a0", "\u2028", "\u3000")
BAD_NAMES = ("", "a\nb", "a\0b", "\x1b[31m", "\x7f", "\x9f", "x" * 201, "🎮" * 201)


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/score"])
async def test_names_that_are_not_allowed(api: Api, all_redis: redis.Redis, path: str) -> None:
    token = await api.register("alice", "EU")
    before = await dump(all_redis)
    for field, values in (("user_id", (*BAD_USER_IDS, "x" * 129)), ("name", BAD_NAMES)):
        for value in (*values, 5, True, ["a"], {"a": 1}):
            response = await api.post(path, {**WRITES[path], field: value}, token=token)
            body = check_envelope(response, 422, "invalid_payload")
            assert body["fields"][0]["field"] == field, (value, body)
    assert await dump(all_redis) == before


async def test_the_longest_names_are_allowed(api: Api) -> None:
    await api.register("𝔘" * 128, "EU", name="🎮" * 200)
    assert (await api.get("/top")).json()["rows"][0]["name"] == "🎮" * 200


@pytest.mark.parametrize("path", WRITES)
async def test_every_required_field_is_asked_for(api: Api, path: str) -> None:
    token = await api.register("alice", "EU")
    for missing in WRITES[path]:
        if (path, missing) == ("/score", "name"):
            continue
        body = {key: value for key, value in WRITES[path].items() if key != missing}
        answer = check_envelope(await api.post(path, body, token=token), 422, "invalid_payload")
        required = "is required without a password or a secret" if path == "/auth/login" else "Field required"
        wanted = "Field required" if missing == "user_id" else required
        assert answer["fields"] == [{"field": missing, "message": wanted}]


BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"score=5",
    "half": b'{"score": 5',
    "two": b'{"score": 5}{"score": 6}',
    "a list": b"[1]",
    "a number": b"5",
    "null": b"null",
    "a string": b'"score"',
    "not UTF-8": b'{"user_id": "\xff\xfe", "score": 5}',
    "UTF-16": json.dumps({"score": 5}).encode("utf-16"),
    "lone surrogate": b'{"user_id": "\\ud800", "name": "\\udfff", "region": "EU", "score": 5,"x": "\\udfff"}',
    "deep list": b"[" * 4000,
    "deep object": b'{"a":' * 700 + b"1" + b"}" * 700,
    "deep field": b'{"score":' + b"[" * 2000 + b"]" * 2000 + b"}",
}
DEEP_BODIES: dict[str, bytes] = {
    "deep list": b"[" * 100_000,
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "deep field": b'{"user_ids":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
}


@pytest.mark.parametrize("path", WRITES)
async def test_bodies_that_are_not_json_objects(api: Api, all_redis: redis.Redis, path: str) -> None:
    token = await api.register("alice", "EU", 3)
    before = await dump(all_redis)
    for what, content in BAD_BODIES.items():
        response = await api.post_raw(path, content, token=token)
        assert response.status_code == 422, (what, response.text[:300])
        body = check_envelope(response, 422, "invalid_payload")
        assert len(response.content) < 5000, what
        assert body["fields"], what
    assert await dump(all_redis) == before


FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
SCORE = '{"score": 100}'
NO_JSON: tuple[tuple[str, bytes, str], ...] = (
    (FORM, b"score=5", f"The body is a form; send JSON such as {SCORE}."),
    ("", b"score=5&name=a+b", f"The body is a form; send JSON such as {SCORE}."),
    (FORM, b"five", f"The body is a form; send JSON such as {SCORE}."),
    (MULTIPART, b'--x\r\nContent-Disposition: form-data; name="score"\r\n\r\n5\r\n--x--\r\n', "a multipart form;"),
    ("", b"--5f3a\r\nContent-Disposition: form-data; name=score\r\n\r\n5\r\n--5f3a--", "a multipart form;"),
    ("application/json", gzip.compress(b'{"score": 5}'), "The body is compressed; send plain JSON such as"),
    ("application/json", zlib.compress(b'{"score": 5}'), "The body is compressed; send plain JSON such as"),
    ("application/json", '{"score": 5}'.encode("utf-16"), "The body is in UTF-16; send JSON in UTF-8, such as"),
    ("application/json", '{"score": 5}'.encode("utf-16-le"), "The body is in UTF-16;"),
    ("application/json", '{"score": 5}'.encode("utf-16-be"), "The body is in UTF-16;"),
    ("application/json", '{"score": 5}'.encode("utf-32"), "The body is in UTF-32;"),
    ("application/xml", b"<score>5</score>", f"The body is XML; send JSON such as {SCORE}."),
    ("application/json", b"", f"The body is empty; send JSON such as {SCORE}."),
    ("application/json", b"5", f"Send a JSON object such as {SCORE}."),
    ("application/json", b"[5]", f"Send a JSON object such as {SCORE}."),
    (FORM, b"{score: 5}", "Invalid JSON: key must be a string at line 1 column 2"),  # curl -d says that it is a form
)


@pytest.mark.parametrize(("content_type", "content", "sentence"), NO_JSON, ids=range(len(NO_JSON)))
async def test_a_body_that_is_no_json_is_called_what_it_is(
    api: Api, content_type: str, content: bytes, sentence: str
) -> None:
    headers = {"Authorization": f"Bearer {await api.register('alice', 'EU')}"}
    if content_type:
        headers["Content-Type"] = content_type
    body = check_envelope(
        await api.http.post("/score/update", content=content, headers=headers), 422, "invalid_payload"
    )
    (field,) = body["fields"]
    assert field["field"] == "body"
    assert sentence in field["message"]
    assert field["message"] in body["message"]


@pytest.mark.parametrize(
    ("path", "example"),
    [
        ("/auth/register", {"user_id": "alice", "name": "Alice", "region": "EU"}),
        ("/auth/login", {"user_id": "alice", "password": "correct horse battery"}),
        ("/score/add", {"delta": 50}),
        ("/score", {"user_id": "alice", "region": "EU", "score": 100}),
        ("/scores", {"scores": [{"user_id": "alice", "region": "EU", "score": 100}]}),
        ("/ranks", {"user_ids": ["alice"]}),
    ],
)
async def test_the_json_that_is_shown_instead_is_valid(api: Api, path: str, example: dict[str, Any]) -> None:
    token = api.server_token() if path in ("/score", "/scores") else await api.register("alice", "EU")
    message = (await api.post_raw(path, "x=1", token=token)).json()["message"]
    shown = json.loads(message.partition("such as ")[2].removesuffix("."))
    assert shown == example
    assert (await api.post(path, shown, token=token)).status_code in (200, 401, 409)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x-unknown", "identity"])
async def test_a_content_encoding_is_415(api: Api, all_redis: redis.Redis, coding: str) -> None:
    token = await api.register("alice", "EU", 3)
    before = await dump(all_redis)
    for path, content in (
        ("/score/update", gzip.compress(b'{"score": 5}')),
        ("/score/update", b'{"score": 5}'),
        ("/ranks", b'{"user_ids": ["alice"]}'),
    ):
        if coding == "identity":
            continue
        headers = {"Authorization": f"Bearer {token}", "Content-Encoding": coding}
        body = check_envelope(
            await api.http.post(path, content=content, headers=headers), 415, "unsupported_media_type"
        )
        assert coding in body["message"]
    assert await dump(all_redis) == before
    headers = {"Authorization": f"Bearer {token}", "Content-Encoding": "identity"}
    assert (await api.http.post("/score/update", content=b'{"score": 5}', headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/auth/register", "/score/add"])
async def test_bodies_that_are_too_large(api: Api, all_redis: redis.Redis, path: str) -> None:
    token = await api.register("alice", "EU", 3)
    before = await dump(all_redis)
    large = b'{"delta": 1, "padding": "' + b"x" * 2_000_000 + b'"}'
    check_envelope(await api.post_raw(path, large, token=token), 413, "payload_too_large")

    async def chunks() -> Any:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    response = await api.http.post(path, content=chunks(), headers={"Authorization": f"Bearer {token}"})
    check_envelope(response, 413, "payload_too_large")
    assert await dump(all_redis) == before


@pytest.mark.parametrize(("path", "largest"), [("/auth/register", 30_000), ("/score/add", 20_000), ("/ranks", 600_000)])
async def test_a_call_takes_no_more_than_it_can_need(api: Api, path: str, largest: int) -> None:
    token = await api.register("alice", "EU", 3)
    for content in (b"[" * largest, b"{}" + b" " * largest):
        check_envelope(await api.post_raw(path, content, token=token), 413, "payload_too_large")


async def test_the_longest_texts_that_are_allowed_fit(api: Api) -> None:
    user_id, name = "🂡" * 128, "🂡" * 200
    longest = {"user_id": user_id, "name": name, "region": "EU", "initialScore": -(2**53 - 1), "password": "🂡" * 1024}
    made = await api.post_raw("/auth/register", json.dumps(longest).encode())
    assert made.status_code == 201, made.text
    body = {"user_id": user_id, "name": name, "region": "EU", "score": 2**53 - 1}
    written = await api.post_raw("/score", json.dumps(body).encode(), token=made.json()["token"])
    assert written.status_code == 200, written.text
    ids = [f"{'🂡' * 124}{number:04}" for number in range(1000)]
    listed = await api.post_raw("/ranks", json.dumps({"user_ids": ids}, ensure_ascii=False).encode())
    assert len(listed.json()["unknown"]) == 1000


def tokens_that_are_not_valid() -> dict[str, str]:
    now = int(time.time())
    claims = {"user_id": "alice", "name": "alice", "region": "EU", "iat": now, "exp": now + 1000}

    def signed(key: str = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
        payload = {key: value for key, value in {**claims, **changed}.items() if value is not None}
        return jwt.encode(payload, key, algorithm=algorithm)

    good = signed()
    head, payload, _ = good.split(".")
    return {
        "garbage": "garbage",
        "dots": "..",
        "alg none": jwt.encode(claims, "", algorithm="none"),
        "other key": signed("another secret that is long enough"),
        "other algorithm": signed(SECRET * 2, "HS512"),
        "expired": signed(exp=now - 1),
        "no exp": signed(exp=None),
        "no user_id": signed(user_id=None),
        "no name": signed(name=None),
        "no region": signed(region=None),
        "number as user_id": signed(user_id=5),
        "list as region": signed(region=["EU"]),
        "exp of text": signed(exp="tomorrow"),
        "no signature": f"{head}.{payload}.",
        "signature of another": f"{head}.{payload}.{signed(user_id='bob').split('.')[2]}",
        "more text": good + "x",
        "not ASCII": "é" * 20,
        "very long": "a" * 20_000,
    }


@pytest.mark.parametrize("path", SCORE_PATHS)
async def test_tokens_that_are_not_valid(api: Api, all_redis: redis.Redis, path: str) -> None:
    await api.register("alice", "EU")
    before = await dump(all_redis)
    for what, token in tokens_that_are_not_valid().items():
        headers = {b"authorization": b"Bearer " + token.encode()}
        response = await api.http.post(path, json=WRITES[path], headers=headers)
        assert response.status_code == 401, (what, response.text)
        check_envelope(response, 401, "invalid_token")
        assert response.headers["www-authenticate"].startswith("Bearer")
    for authorization in ("", "Bearer", "Basic YWxpY2U6", "Token abc"):
        response = await api.http.post(path, json=WRITES[path], headers={"Authorization": authorization})
        check_envelope(response, 401, "missing_token")
    check_envelope(await api.post(path, WRITES[path]), 401, "missing_token")
    assert await dump(all_redis) == before


@pytest.mark.parametrize("region", ["", "MARS", "EU ", "E U", "eu\n", "GLÖBAL", "x" * 51, "EU\0", "leaderboard:EU"])
async def test_unknown_regions(api: Api, all_redis: redis.Redis, region: str) -> None:
    token = await api.register("alice", "EU")
    before = await dump(all_redis)
    responses = [await api.get(path, region=region) for path in ("/top", "/rank/alice", "/around/alice")]
    responses.append(await api.get("/range", region=region, min=0))
    responses.append(await api.post("/ranks", {"region": region, "user_ids": ["alice"]}))
    for path in ("/auth/register", "/auth/login", "/score/create", "/score"):
        responses.append(await api.post(path, {**WRITES[path], "region": region}, token=token))
    for response in responses:
        assert response.status_code == 422
        body = response.json()
        assert body["error"] in ("unknown_region", "invalid_payload")
        if body["error"] == "unknown_region":
            assert body["regions"] == ["ASIA", "EU", "NA", "GLOBAL"]
    assert await dump(all_redis) == before


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/top?limit=0", "limit"),
        ("/top?limit=1001", "limit"),
        ("/top?limit=-1", "limit"),
        ("/top?limit=ten", "limit"),
        ("/top?limit=", "limit"),
        ("/top?limit=1.5", "limit"),
        ("/top?limit=5.0", "limit"),
        ("/top?limit=%2B5", "limit"),
        ("/top?limit=1_0", "limit"),
        ("/top?limit=%205", "limit"),
        ("/top?limit=%D9%A5", "limit"),
        ("/top?limit=" + "9" * 5000, "limit"),
        ("/top?offset=-1", "offset"),
        ("/top?offset=9007199254740992", "offset"),
        ("/top?offset=NaN", "offset"),
        ("/around/alice?range=0", "range"),
        ("/around/alice?range=101", "range"),
        ("/around/alice?range=-1", "range"),
        ("/around/alice?range=x", "range"),
        ("/top?cursor=", "cursor"),
        ("/top?cursor=abc", "cursor"),
        ("/top?cursor=" + "A" * 5000, "cursor"),
        ("/top?cursor=%F0%9F%8E%AE", "cursor"),
        ("/top?cursor=abc&offset=0", "query"),
        ("/top?region=EU&cursor=" + encode(Place.on_main("GLOBAL"), Point(5, "alice")), "cursor"),
        ("/range?min=1&cursor=x", "cursor"),
        ("/range?min=1&region=EU&cursor=" + encode(Place.on_main("ASIA"), Point(5, "alice")), "cursor"),
        ("/range", "query"),
        ("/range?min=1&from=1", "query"),
        ("/range?max=1&to=1", "query"),
        ("/range?min=2&max=1", "query"),
        ("/range?from=2&to=1", "query"),
        ("/range?min=", "min"),
        ("/range?min=1.5", "min"),
        ("/range?min=1e2", "min"),
        ("/range?max=9007199254740992", "max"),
        ("/range?min=-9007199254740992", "min"),
        ("/range?from=0", "from"),
        ("/range?to=0", "to"),
        ("/range?to=x", "to"),
        ("/range?min=1&limit=1001", "limit"),
        ("/rank/" + "x" * 129, "user_id"),
        ("/rank/a%20b", "user_id"),
        ("/rank/a%0Ab", "user_id"),
        ("/rank/%00", "user_id"),
        ("/around/%C2%A0", "user_id"),
    ],
    ids=lambda value: value[:40],
)
async def test_queries_that_are_not_valid(api: Api, path: str, field: str) -> None:
    body = check_envelope(await api.http.get(path), 422, "invalid_payload")
    assert [entry["field"] for entry in body["fields"]] == [field]


async def test_lists_of_players_that_are_not_valid(api: Api) -> None:
    for user_ids in (None, "alice", [], ["a"] * 1001, [5], [None], ["a b"], [""], ["a/b"], ["a\0b"], [["a"]]):
        body = check_envelope(await api.post("/ranks", {"user_ids": user_ids}), 422, "invalid_payload")
        assert all(entry["field"].startswith("user_ids") for entry in body["fields"])
    check_envelope(await api.post("/ranks", {}), 422, "invalid_payload")
    check_envelope(await api.post("/ranks", {"user_ids": ["a"], "region": 5}), 422, "invalid_payload")
    check_envelope(await api.post("/ranks", {"user_ids": ["a"], "region": "MARS"}), 422, "unknown_region")
    for what, content in (BAD_BODIES | DEEP_BODIES).items():
        response = await api.post_raw("/ranks", content)
        assert response.status_code == 422, what
        assert len(response.content) < 5000, what
    check_envelope(await api.post_raw("/ranks", b"x" * 2_000_000), 413, "payload_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/rank", 404, "not_found"),
        ("GET", "/rank/", 404, "not_found"),
        ("GET", "/rank/a/b", 404, "not_found"),
        ("GET", "/rank/a%2Fb", 404, "not_found"),
        ("GET", "/top/", 404, "not_found"),
        ("POST", "/score/", 404, "not_found"),
        ("GET", "//top", 404, "not_found"),
        ("POST", "/score/delete", 404, "not_found"),
        ("GET", "/%ff%fe", 404, "not_found"),
        ("POST", "/top", 405, "method_not_allowed"),
        ("GET", "/score", 405, "method_not_allowed"),
        ("PUT", "/score", 405, "method_not_allowed"),
        ("DELETE", "/rank/alice", 405, "method_not_allowed"),
        ("GET", "/auth/login", 405, "method_not_allowed"),
        ("PATCH", "/score/update", 405, "method_not_allowed"),
        ("OPTIONS", "/score", 405, "method_not_allowed"),
        ("POST", "/openapi.json", 405, "method_not_allowed"),
    ],
)
async def test_unknown_paths_and_wrong_verbs(api: Api, method: str, path: str, status: int, code: str) -> None:
    response = await api.http.request(method, httpx.URL(api.http.base_url, raw_path=path.encode()))
    check_envelope(response, status, code)
    if status == 405:
        assert response.headers["allow"]


async def test_allow_names_all_verbs_of_a_path(api: Api) -> None:
    paths: dict[str, dict[str, object]] = (await api.get("/openapi.json")).json()["paths"]
    for path, operations in paths.items():
        verbs = {verb.upper() for verb in operations}
        found = await api.http.patch(path.replace("{user_id}", "alice"))
        assert set(found.headers["allow"].split(", ")) == verbs | ({"HEAD"} if "GET" in verbs else set()), path


async def test_a_request_id_is_kept_or_made(api: Api) -> None:
    given = await api.http.get("/top", headers={"X-Request-ID": "abc-123"})
    assert given.headers["x-request-id"] == "abc-123"
    for odd in ("a b", "x" * 129, "é"):
        response = await api.http.get("/nothing", headers=[(b"x-request-id", odd.encode())])
        assert len(response.headers["x-request-id"]) == 32
    assert (await api.get("/top")).headers["x-request-id"] != (await api.get("/top")).headers["x-request-id"]
