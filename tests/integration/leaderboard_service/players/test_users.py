"""One player as a whole: its export, its deletion, what stays dead after it and what may begin anew."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.lua import all_scripts
from tests.conftest import Start, admit
from tests.support.infrastructure import Infrastructure
from tests.support.layouts import WHOLE_LIMITS, Layout
from tests.support.proxy import Proxy, proxy
from tests.support.redis_dump import dump
from tests.support.service import REGIONS, Api
from tests.support.waiting import eventually
from tests.support.worker import drained, rows, working

PASSWORD = "correct horse battery"


def refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json().get("error")) == (status, code), response.text


async def keys_of(user_id: str, *clients: redis.Redis) -> set[str]:
    """Every Redis key that names the player, but for answers to Idempotency-Keys."""
    return {
        key
        for client in clients
        async for key in client.scan_iter(f"*{user_id}*")
        if not key.startswith("idempotency:")
    }


async def passwords(databases: RegionDatabases) -> set[str]:
    found = [row["user_id"] for region in REGIONS for row in await databases[region].fetch("SELECT * FROM accounts")]
    return set(found)


async def writes_of(api: Api, token: str, region: str, user_id: str = "alice") -> list[httpx.Response]:
    """One of every write that a player's token may make."""
    return [
        await api.post("/score/create", {"region": region, "initialScore": 77}, token=token),
        await api.post("/score/update", {"score": 77}, token=token),
        await api.post("/score/add", {"delta": 77}, token=token),
        await api.post("/score", {"user_id": user_id, "region": region, "score": 77}, token=token),
    ]


async def test_a_deleted_player_is_gone_everywhere(
    any_api: Api, all_redis: redis.Redis, databases: RegionDatabases
) -> None:
    for number, (user_id, region) in enumerate(
        (("alice", "EU"), ("bob", "ASIA"), ("日本 🎮".replace(" ", ""), "GLOBAL"))
    ):
        token = await any_api.register(user_id, region, 7)
        await any_api.register(f"other-{number}", region, 5)
        assert (await any_api.post("/score/add", {"delta": 1}, token=token)).status_code == 200
        assert await keys_of(user_id, all_redis) == {f"user:{user_id}", f"bucket:user:{user_id}"}
        response = await any_api.delete(user_id, token)
        assert response.status_code == 200, response.text
        body = response.json()
        assert body == {"ok": True, "user_id": user_id, "deleted_at": body["deleted_at"]}
        for board in (region, "GLOBAL"):
            assert user_id not in await any_api.scores(board)
            refused(await any_api.get(f"/rank/{user_id}", region=board), 404, "user_not_found")
            refused(await any_api.get(f"/around/{user_id}", region=board), 404, "user_not_found")
            listed = (await any_api.post("/ranks", {"user_ids": [user_id], "region": board})).json()
            assert listed["unknown"] == [user_id]
        refused(await any_api.export(user_id), 404, "user_not_found")
        refused(await any_api.login(user_id), 404, "user_not_found")
        refused(await any_api.delete(user_id), 404, "user_not_found")
        assert await keys_of(user_id, all_redis) == {f"deleted:{user_id}"}
        (event,) = [
            event
            for event in map(json.loads, await all_redis.lrange(f"queue:scores:{region}", 0, -1))
            if event["user_id"] == user_id and event.get("deleted")
        ]
        assert (event["user_id"], event["deleted"], event["timestamp"]) == (user_id, True, body["deleted_at"])
    assert set(await any_api.scores()) == {"other-0", "other-1", "other-2"}


async def test_who_may_delete_and_export(api: Api, all_redis: redis.Redis) -> None:
    await api.register("alice", "EU", 7)
    bob = await api.register("bob", "EU", 7)
    before = await dump(all_redis)
    for method in ("GET", "DELETE"):
        refused(await api.http.request(method, "/users/alice"), 401, "missing_token")
        odd = {"Authorization": "Bearer x"}
        refused(await api.http.request(method, "/users/alice", headers=odd), 401, "invalid_token")
    for call in (api.export, api.delete):
        refused(await call("alice", bob), 403, "forbidden")
        refused(await call("nobody"), 404, "user_not_found")
        refused(await call("a b"), 422, "invalid_payload")
        refused(await call("x" * 129), 422, "invalid_payload")
        elsewhere = api.player_token("alice", "NA")
        refused(await call("alice", elsewhere), 409, "region_mismatch")
    assert await dump(all_redis) == before
    assert (await api.delete("alice")).status_code == 200
    assert (await api.delete("bob", bob)).status_code == 200


async def test_an_export_shows_all_that_is_kept_and_no_secret(
    any_api: Api,
    any_layout: Layout,
    layouts: dict[Layout, dict[str, str]],
    all_redis: redis.Redis,
    databases: RegionDatabases,
) -> None:
    token = await any_api.register("alice", "EU", 7, name="Alice", password=PASSWORD)
    bob = await any_api.register("bob", "GLOBAL", 9)
    first = (await any_api.export("alice", token)).json()
    assert (first["saved"], first["user"]["protected"]) == (None, True)
    async with working(layouts[any_layout]):
        await drained(all_redis)
    response = await any_api.export("alice", token)
    assert response.headers["x-leaderboard-source"] == "redis"
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {
        "user": {**first["user"], "user_id": "alice", "name": "Alice", "region": "EU", "score": 7},
        "ranks": {
            "EU": {"rank": 1, "total": 1, "percentile": 100.0},
            "GLOBAL": {"rank": 2, "total": 2, "percentile": 0.0},
        },
        "account": first["account"],
        "entries": [],
        "saved": {"name": "Alice", "region": "EU", "score": 7, "updated_at": first["user"]["updated_at"]},
    }
    assert abs(first["account"]["created_at"] - first["user"]["updated_at"]) < 60_000_000
    assert "argon2" not in response.text
    other = (await any_api.export("bob", bob)).json()
    assert (other["account"], list(other["ranks"]), other["user"]["protected"]) == (None, ["GLOBAL"], False)


async def test_an_export_while_redis_is_rebuilt_comes_from_postgres(
    start: Start, environ: dict[str, str], all_redis: redis.Redis, databases: RegionDatabases
) -> None:
    api = await start()
    old = await api.register("alice", "EU", 7)
    await api.delete("alice", old)
    token = await api.register("alice", "EU", 9, password=PASSWORD)
    async with working(environ):
        await drained(all_redis)
    before = await api.export("alice", token)
    await all_redis.flushdb()
    during = await api.export("alice", token)
    assert during.headers["x-leaderboard-source"] == "postgres"
    assert during.json() == before.json()
    refused(await api.export("alice", old), 401, "invalid_token")
    missing = await api.export("nobody")
    refused(missing, 404, "user_not_found")
    assert missing.headers["x-leaderboard-source"] == "postgres"
    refused(await api.delete("alice", token), 503, "warming_up")
    assert await rows(databases)


@pytest.mark.parametrize("script", ["find_user", "read_rank"])
async def test_an_export_during_which_redis_goes_away_is_whole_from_postgres(
    start: Start,
    environ: dict[str, str],
    infra: Infrastructure,
    redis_1: redis.Redis,
    databases: RegionDatabases,
    script: str,
) -> None:
    async with proxy(infra.redis_urls[0]) as between:
        api = await start(REDIS_URL=between.url, REDIS_TIMEOUT_SECONDS=0.5)
        token = await api.register("alice", "EU", 7)
        async with working(environ):
            await drained(redis_1)
        before = await api.export("alice", token)
        assert before.headers["x-leaderboard-source"] == "redis"
        assert (await api.post("/score/add", {"delta": 1}, token=token)).status_code == 200
        admission = str(await redis_1.get("shard:admission"))
        between.hold_when(all_scripts()[script].under(admission).sha.encode())
        during = await api.export("alice", token)
        assert between.held_bytes
        between.release()
        assert (during.headers["x-leaderboard-source"], during.json()) == ("postgres", before.json())


async def test_a_token_from_before_the_deletion_is_dead(any_api: Api, all_redis: redis.Redis) -> None:
    for user_id, region in (("alice", "EU"), ("bob", "ASIA")):
        old = await any_api.register(user_id, region, 7)
        without_time = any_api.player_token(user_id, region, issued_at=0)
        deletion = await any_api.delete(user_id, old)
        assert deletion.status_code == 200
        of_that_moment = any_api.player_token(user_id, region, issued_at=deletion.json()["deleted_at"])
        before = await dump(all_redis)
        for token in (old, without_time):
            for response in await writes_of(any_api, token, region, user_id):
                refused(response, 401, "invalid_token")
            refused(await any_api.delete(user_id, token), 404, "user_not_found")
            refused(await any_api.export(user_id, token), 404, "user_not_found")
        assert await dump(all_redis) == before

        new = await any_api.register(user_id, region, 1)
        before = await dump(all_redis)
        for token in (old, without_time, of_that_moment):
            for response in await writes_of(any_api, token, region, user_id):
                refused(response, 401, "invalid_token")
            refused(await any_api.delete(user_id, token), 401, "invalid_token")
            refused(await any_api.export(user_id, token), 401, "invalid_token")
        assert await dump(all_redis) == before
        again = (await any_api.login(user_id)).json()["token"]
        for token in (new, again):
            assert {response.status_code for response in await writes_of(any_api, token, region, user_id)} == {200}
        assert (await any_api.export(user_id, new)).json()["user"]["score"] == 77
        assert (await any_api.delete(user_id, new)).status_code == 200


async def test_a_token_of_another_issuer_made_after_the_deletion_makes_a_player(api: Api) -> None:
    old = await api.register("alice", "EU", 7)
    assert (await api.delete("alice", old)).status_code == 200
    token = api.player_token("alice", "EU")
    response = await api.post("/score/create", {"region": "EU", "initialScore": 5}, token=token)
    assert response.status_code == 201
    assert await api.scores() == {"alice": 5}


async def test_a_server_makes_a_deleted_player_anew(any_api: Api) -> None:
    old = await any_api.register("alice", "EU", 7)
    assert (await any_api.delete("alice")).status_code == 200
    body = {"user_id": "alice", "region": "EU", "score": 3}
    response = await any_api.post("/score", body, token=any_api.server_token())
    assert (response.status_code, response.json()["score"]) == (200, 3)
    refused(await any_api.post("/score/add", {"delta": 1}, token=old), 401, "invalid_token")
    assert (await any_api.post("/scores", {"scores": [body]}, token=any_api.server_token())).json()["ok"] is True


@pytest.mark.parametrize("second", ["ASIA", "EU", "GLOBAL"])
async def test_the_user_id_is_free_at_once_in_every_region(any_api: Api, second: str) -> None:
    """Also for replicas that remember where the player lived."""
    old = await any_api.register("alice", "EU", 7, name="Alice")
    await any_api.get("/rank/alice")
    await any_api.get("/around/alice")
    assert (await any_api.delete("alice", old)).status_code == 200
    token = await any_api.register("alice", second, 8, name="Another")
    for board in {second, "GLOBAL"}:
        rank = (await any_api.get("/rank/alice", region=board)).json()
        assert (rank["name"], rank["score"], rank["total"]) == ("Another", 8, 1)
        assert (await any_api.get("/around/alice", region=board)).json()["self"]["region"] == second
    if second != "EU":
        assert await any_api.scores("EU") == ({"alice": 8} if second == "EU" else {})
    for response in await writes_of(any_api, old, "EU"):
        assert response.status_code in (401, 404, 409), response.text
    assert (await any_api.export("alice", old)).status_code in (401, 409)
    assert (await any_api.delete("alice", old)).status_code in (401, 409)
    assert await any_api.scores() == {"alice": 8}
    assert (await any_api.delete("alice", token)).status_code == 200
    assert await any_api.scores() == {}


async def test_times_go_on_when_the_clock_steps_back(
    start: Start, environ: dict[str, str], all_redis: redis.Redis, databases: RegionDatabases
) -> None:
    api = await start()
    old = await api.register("alice", "EU", 7)
    seconds, _ = await all_redis.time()
    ahead = (seconds + 7200) * 1_000_000
    await all_redis.hset("user:alice", "updated_at", str(ahead))  # as if the clock had been two hours ahead then
    late = (await api.login("alice")).json()["token"]
    deleted_at = (await api.delete("alice", old)).json()["deleted_at"]
    assert deleted_at == ahead + 1
    refused(await api.post("/score/create", {"region": "EU"}, token=late), 401, "invalid_token")
    token = await api.register("alice", "EU", 1)
    assert int(await all_redis.hget("user:alice", "updated_at") or 0) > deleted_at
    for one in (token, (await api.login("alice")).json()["token"]):
        assert (await api.post("/score/add", {"delta": 1}, token=one)).status_code == 200
    async with working(environ):
        await drained(all_redis)
    assert (await rows(databases))["alice"][1] == 3


async def test_passwords_go_on_when_the_clock_steps_back(api: Api, databases: RegionDatabases) -> None:
    await api.register("alice", "EU", 7, password=PASSWORD)
    # As if the clock had been an hour ahead then.
    await databases["EU"].execute("UPDATE accounts SET created_at = created_at + INTERVAL '1 hour'")
    assert (await api.delete("alice")).status_code == 200
    assert await passwords(databases) == set(), "the deletion is later than the password"
    await api.register("alice", "EU", 7, password="another password")
    assert (await api.login("alice", password="another password")).status_code == 200, "and the next one later than it"


async def test_an_absurd_time_in_a_token_does_not_reach_the_deletion(api: Api, all_redis: redis.Redis) -> None:
    await api.register("alice", "EU", 7)
    token = api.player_token("alice", "EU", issued_at=8_000_000_000_000_000)
    deleted_at = (await api.delete("alice", token)).json()["deleted_at"]
    seconds, _ = await all_redis.time()
    assert deleted_at <= (seconds + 86_401) * 1_000_000


async def test_an_idempotency_key_gives_the_first_answer_again(any_api: Api, all_redis: redis.Redis) -> None:
    token = await any_api.register("alice", "EU", 7)
    first = await any_api.delete("alice", token, key="bye")
    again = await any_api.delete("alice", token, key="bye")
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    refused(await any_api.delete("alice", token, key="other"), 404, "user_not_found")
    bob = await any_api.register("bob", "EU", 7)
    assert (await any_api.post("/score/add", {"delta": 1}, token=bob, key="k")).status_code == 200
    refused(await any_api.delete("bob", bob, key="k"), 422, "idempotency_key_reused")
    assert (await any_api.scores())["bob"] == 8

    # Made anew: the old token's repeat is answered as before, and the new player's own key is another matter.
    new = await any_api.register("alice", "EU", 1)
    assert (await any_api.delete("alice", token, key="bye")).json() == first.json()
    assert "alice" in await any_api.scores()
    second = await any_api.delete("alice", new, key="bye")
    assert second.json()["deleted_at"] > first.json()["deleted_at"]
    assert "alice" not in await any_api.scores()

    server = any_api.server_token()
    await any_api.register("alice", "EU", 2)
    third = await any_api.delete("alice", server, key="bye")
    await any_api.register("alice", "EU", 3)
    assert (await any_api.delete("alice", server, key="bye")).json() == third.json()
    assert (await any_api.scores())["alice"] == 3


async def test_answers_of_an_earlier_life_are_not_given_to_the_next(any_api: Api) -> None:
    """The key of a player's game may well be the same the second time."""
    token = await any_api.register("alice", "EU", 100)
    assert (await any_api.post("/score/add", {"delta": 50}, token=token, key="match-17")).json()["score"] == 150
    server = any_api.server_token()
    submit = {"user_id": "alice", "region": "EU", "score": 9}
    by_server = await any_api.post("/score", submit, token=server, key="round-1")
    assert (await any_api.delete("alice", token)).status_code == 200
    refused(await any_api.post("/score/add", {"delta": 50}, token=token, key="match-17"), 401, "invalid_token")
    # A server's repeat is a repeat: it must not bring the player back.
    repeated = await any_api.post("/score", submit, token=server, key="round-1")
    assert repeated.json() == by_server.json()
    assert await any_api.scores() == {}
    token = await any_api.register("alice", "EU", 1)
    for _ in range(2):
        answer = await any_api.post("/score/add", {"delta": 50}, token=token, key="match-17")
        assert (answer.status_code, answer.json()["score"]) == (200, 51)


@WHOLE_LIMITS
async def test_a_full_queue_refuses_a_deletion(start: Start, all_redis: redis.Redis) -> None:
    api = await start(QUEUE_REJECT_LENGTH=3)
    token = await api.register("alice", "EU", 7)
    await all_redis.lpush("queue:scores:EU", "x", "x")
    before = await dump(all_redis)
    response = await api.delete("alice", token)
    refused(response, 429, "queue_full")
    assert int(response.headers["retry-after"]) >= 1
    assert await dump(all_redis) == before


async def test_of_many_deletions_one_is_told_so(any_api: Api) -> None:
    token = await any_api.register("alice", "EU", 7)
    responses = await asyncio.gather(*(any_api.delete("alice", token) for _ in range(12)))
    assert sorted(response.status_code for response in responses) == [200] + [404] * 11


async def test_the_password_is_gone_with_the_answer(any_api: Api, databases: RegionDatabases) -> None:
    token = await any_api.register("alice", "EU", 7, password=PASSWORD)
    await any_api.register("bob", "EU", 7, password=PASSWORD)
    assert await passwords(databases) == {"alice", "bob"}
    assert (await any_api.delete("alice", token)).status_code == 200
    assert await passwords(databases) == {"bob"}
    await any_api.register("alice", "EU", 8)
    refused(await any_api.login("alice", password=PASSWORD), 401, "invalid_credentials")
    assert (await any_api.login("alice")).status_code == 200
    assert (await any_api.delete("alice")).status_code == 200
    await any_api.register("alice", "EU", 8, password="another password")
    refused(await any_api.login("alice", password=PASSWORD), 401, "invalid_credentials")
    assert (await any_api.login("alice", password="another password")).status_code == 200


async def test_login_attempts_are_forgotten_with_the_player(any_api: Api, all_redis: redis.Redis) -> None:
    await any_api.register("alice", "EU", password=PASSWORD)
    refused(await any_api.login("alice", password="wrong password"), 401, "invalid_credentials")
    assert "bucket:login:alice" in await keys_of("alice", all_redis)
    assert (await any_api.delete("alice")).status_code == 200
    assert await keys_of("alice", all_redis) == {"deleted:alice"}


async def test_with_postgres_away_the_event_deletes_row_and_password_and_spares_the_next_player(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    between = Proxy(environ["DATABASE_URL_EU"])
    await between.open()
    cut = {"DATABASE_URL_EU": between.url, "POSTGRES_TIMEOUT_SECONDS": "2"}
    api = await start(**cut)
    for user_id in ("alice", "bob", "carol"):
        await api.register(user_id, "EU", 7, password=PASSWORD if user_id != "carol" else None)
    async with working(environ):
        await drained(all_redis)
    await between.cut()
    for user_id in ("alice", "bob", "carol"):
        assert (await api.delete(user_id)).status_code == 200
        refused(await api.login(user_id, password=PASSWORD), 404, "user_not_found")
        refused(await api.export(user_id), 404, "user_not_found")
    assert await passwords(databases) == {"alice", "bob"}
    assert await all_redis.ttl("deleted:alice") == -1, "Redis must remember for as long as Postgres does not know"
    await api.register("carol", "EU", 1)
    refused(await api.export("carol"), 503, "unavailable")
    await between.open()

    async def registered() -> bool:
        return (await api.try_register("alice", "EU", 1, password="another password")).status_code == 201

    await eventually(registered, "Postgres for the service")
    async with working(environ):
        await drained(all_redis)
    assert await passwords(databases) == {"alice"}
    assert {user_id: row[1] for user_id, row in (await rows(databases)).items()} == {"alice": 1, "carol": 1}
    assert (await api.login("alice", password="another password")).status_code == 200
    refused(await api.login("alice", password=PASSWORD), 401, "invalid_credentials")
    for user_id in ("alice", "bob"):
        assert 86_000 < await all_redis.ttl(f"deleted:{user_id}") <= 86_400
    await between.cut()


async def test_a_deletion_holds_though_redis_loses_everything_at_once(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """With Postgres at hand the answer does not wait for the queue, and the queue is not needed any more."""
    api = await start()
    token = await api.register("alice", "EU", 7, password=PASSWORD)
    await api.register("bob", "EU", 7)
    async with working(environ):
        await drained(all_redis)
    assert (await api.delete("alice", token)).status_code == 200
    assert set(await rows(databases)) == {"bob"}
    await all_redis.flushdb()
    await admit(environ, databases)
    assert await api.scores() == {"bob": 7}
    refused(await api.post("/score/create", {"region": "EU"}, token=token), 401, "invalid_token")
    new = await api.register("alice", "EU", 1)
    async with working(environ):
        await drained(all_redis)
    await all_redis.flushdb()
    await admit(environ, databases)
    refused(await api.post("/score/add", {"delta": 1}, token=token), 401, "invalid_token")
    refused(await api.export("alice", token), 401, "invalid_token")
    assert (await api.post("/score/add", {"delta": 1}, token=new)).json()["score"] == 2


async def test_a_body_with_a_deletion_is_ignored(api: Api) -> None:
    token = await api.register("alice", "EU", 7)
    headers = {"Authorization": f"Bearer {token}"}
    body: dict[str, Any] = {"user_id": "bob"}
    response = await api.http.request("DELETE", "/users/alice", json=body, headers=headers)
    assert (response.status_code, response.json()["user_id"]) == (200, "alice")
