"""Who enters without a password: by the secret of the registration, and by a name no further than a name goes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import jwt
import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.tokens import NAME, PASSWORD, SECRET
from leaderboard_service.players.credentials import hash_of
from tests.conftest import Start, admit
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.redis_dump import dump
from tests.support.service import Api
from tests.support.worker import drained, working

A_PASSWORD = "correct horse battery"


async def log_in(api: Api, user_id: str, **proof: Any) -> httpx.Response:
    return await api.post("/auth/login", {"user_id": user_id, **proof})


async def secret_of(api: Api, user_id: str, region: str = "EU") -> str:
    """Register a player without a password; return its secret."""
    secret: str = (await api.try_register(user_id, region, 5)).json()["secret"]
    return secret


async def saved_credentials(databases: RegionDatabases) -> dict[str, str]:
    found = await databases["EU"].fetch("SELECT user_id, credential FROM leaderboard")
    return {row["user_id"]: row["credential"] for row in found}


def method_of(response: httpx.Response) -> list[str]:
    claims = jwt.decode(response.json()["token"], options={"verify_signature": False})
    found: list[str] = claims["amr"]
    return found


async def test_a_registration_without_a_password_answers_a_secret_that_logs_in(
    any_api: Api, all_redis: redis.Redis
) -> None:
    registered = await any_api.try_register("alice", "EU", 5, name="Alice")
    secret = registered.json()["secret"]
    assert len(bytes.fromhex(secret)) == 16
    assert method_of(registered) == [SECRET]
    answer = await log_in(any_api, "alice", secret=secret)
    assert answer.status_code == 200
    assert method_of(answer) == [SECRET]
    assert answer.json()["user"] == {"user_id": "alice", "name": "Alice", "region": "EU", "score": 5}
    # Its name is not asked for, and one from before a rename does not matter.
    assert (await log_in(any_api, "alice", secret=secret, name="Al")).status_code == 200
    for wrong in (secret[:-1], secret.upper() + "0", "x"):
        refused(await log_in(any_api, "alice", secret=wrong), 401, "invalid_credentials")
    assert secret not in str(await dump(all_redis))


async def test_with_a_password_there_is_no_secret(api: Api) -> None:
    registered = await api.try_register("alice", "EU", password=A_PASSWORD)
    assert registered.json()["secret"] is None
    assert method_of(registered) == [PASSWORD]
    answer = await log_in(api, "alice", password=A_PASSWORD)
    assert (answer.status_code, method_of(answer)) == (200, [PASSWORD])
    refused(await log_in(api, "alice", secret="0" * 32), 401, "invalid_credentials")
    refused(await log_in(api, "alice", name="alice"), 401, "invalid_credentials")
    refused(await log_in(api, "alice", password=A_PASSWORD, secret="0" * 32), 422, "invalid_payload")


async def test_a_token_got_by_a_name_plays_and_can_neither_export_nor_delete(any_api: Api) -> None:
    secret = await secret_of(any_api, "alice")
    by_name = await log_in(any_api, "alice", name="alice")
    assert method_of(by_name) == [NAME]
    token = by_name.json()["token"]
    assert (await any_api.post("/score/add", {"delta": 1}, token=token)).status_code == 200
    refused(await any_api.export("alice", token), 403, "forbidden")
    refused(await any_api.delete("alice", token), 403, "forbidden")
    assert await any_api.scores("EU") == {"alice": 6}
    proven = (await log_in(any_api, "alice", secret=secret)).json()["token"]
    assert (await any_api.export("alice", proven)).json()["user"]["has_secret"] is True
    assert (await any_api.delete("alice", proven)).status_code == 200


@pytest.mark.parametrize(
    ("claims", "protected", "status"),
    [
        ({}, False, 403),  # from before tokens said how they were got: by a name, if there is no password
        ({}, True, 200),
        ({"amr": NAME}, False, 403),
        ({"amr": ["x", NAME]}, False, 403),
        ({"amr": ["game"]}, False, 200),  # a game's own backend signs it, and has its own way to know its players
        ({"amr": 7}, False, 403),
    ],
)
async def test_what_a_token_of_another_issuer_may(
    api: Api, claims: dict[str, Any], protected: bool, status: int
) -> None:
    token = await api.register("alice", "EU", 5, password=A_PASSWORD if protected else None)
    told = jwt.decode(token, options={"verify_signature": False})
    del told["amr"]
    signed = jwt.encode({**told, **claims}, api.settings.auth.jwt_secret.get_secret_value(), algorithm="HS256")
    assert (await api.export("alice", signed)).status_code == status
    assert (await api.delete("alice", signed)).status_code == status


async def test_without_name_login_a_name_enters_nobody(start: Start) -> None:
    api = await start(AUTH_NAME_LOGIN="false")
    secret = await secret_of(api, "alice")
    answer = await log_in(api, "alice", name="alice")
    refused(answer, 422, "invalid_payload")
    assert "secret" in answer.text
    assert (await log_in(api, "alice", secret=secret)).status_code == 200


async def test_a_login_without_anything_says_what_is_missing(api: Api) -> None:
    await secret_of(api, "alice")
    answer = await log_in(api, "alice")
    refused(answer, 422, "invalid_payload")
    assert answer.json()["fields"][0]["field"] == "name"


async def test_where_passwords_are_required_a_secret_does_not_log_in(start: Start) -> None:
    secret = await secret_of(await start(), "alice")
    api = await start(AUTH_REQUIRE_PASSWORD="true")
    refused(await log_in(api, "alice", secret=secret), 422, "invalid_payload")
    refused(await log_in(api, "alice", name="alice"), 422, "invalid_payload")


async def test_nobody_enters_by_name_as_a_player_that_a_server_made(api: Api) -> None:
    score = {"user_id": "npc", "name": "Npc", "region": "EU", "score": 3}
    assert (await api.post("/score", score, token=api.server_token())).status_code == 200
    batch = {"scores": [{"user_id": "bot", "name": "Bot", "region": "EU", "score": 4}]}
    assert (await api.post("/scores", batch, token=api.server_token())).status_code == 200
    own = api.player_token("cleo", "EU")
    assert (await api.post("/score/create", {"region": "EU"}, token=own)).status_code == 201
    for user_id, name in (("npc", "Npc"), ("bot", "Bot"), ("cleo", "cleo")):
        answer = await log_in(api, user_id, name=name)
        refused(answer, 401, "invalid_credentials")
        assert "server" in answer.json()["message"]


async def test_secrets_come_back_from_postgres(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start()
    secret = await secret_of(api, "alice")
    await api.post("/score", {"user_id": "npc", "region": "EU", "score": 3}, token=api.server_token())
    await api.post("/score/add", {"delta": 1}, token=api.player_token("alice", "EU"))
    async with working(environ):
        await drained(all_redis)
    assert await saved_credentials(databases) == {"alice": f"self {hash_of(secret)}", "npc": "server"}
    await all_redis.flushall()
    await admit(environ, databases)
    assert (await log_in(api, "alice", secret=secret)).status_code == 200
    refused(await log_in(api, "npc", name="npc"), 401, "invalid_credentials")


async def test_a_successor_has_nothing_of_a_deleted_players_secret(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """Also where the deletion reaches Postgres after the successor's event."""
    api = await start()
    secret = await secret_of(api, "alice")
    async with working(environ):
        await drained(all_redis)
    assert (await api.delete("alice")).status_code == 200
    deletion = str(await all_redis.rpop("queue:scores:EU"))
    await databases["EU"].execute(
        "INSERT INTO leaderboard (user_id, name, region, score, updated_at, credential) "
        "VALUES ('alice', 'alice', 'EU', 5, '2001-01-01', $1)",
        f"self {hash_of(secret)}",
    )
    await api.register("alice", "EU", password=A_PASSWORD)
    await all_redis.lpush("queue:scores:EU", deletion)
    async with working(environ):
        await drained(all_redis)
    assert await saved_credentials(databases) == {"alice": "self"}
    refused(await log_in(api, "alice", secret=secret), 401, "invalid_credentials")


@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_an_event_of_an_earlier_version_takes_no_secret_away(
    start: Start,
    environ: dict[str, str],
    databases: RegionDatabases,
    all_redis: redis.Redis,
    in_one_batch: bool,
) -> None:
    api = await start()
    await secret_of(api, "alice")
    if not in_one_batch:
        async with working(environ):
            await drained(all_redis)
    await api.post("/score/add", {"delta": 1}, token=api.player_token("alice", "EU"))
    before, _, after = str(await all_redis.lpop("queue:scores:EU")).partition(',"credential":"')
    await all_redis.lpush("queue:scores:EU", before + after.partition('"')[2])
    async with working(environ):
        await drained(all_redis)
    assert (await saved_credentials(databases))["alice"] == await all_redis.hget("user:alice", "credential")
    assert await databases["EU"].fetchval("SELECT score FROM leaderboard") == 6


async def test_every_event_since_says_how_old_the_secret_is(api: Api, all_redis: redis.Redis) -> None:
    """Of two that are held where Redis has lost both, only the newer one's may count, whichever comes back first."""
    token = await api.register("alice", "EU", 1)
    server = {"Authorization": f"Bearer {api.server_token()}"}
    assert (await api.http.post("/users/alice/secret", headers=server)).status_code == 200
    assert (await api.post("/score/add", {"delta": 1}, token=token)).status_code == 200
    later, new_secret, registered = [json.loads(raw) for raw in await all_redis.lrange("queue:scores:EU", 0, -1)]
    assert "credential_at" not in registered
    assert new_secret["credential_at"] == later["credential_at"] == str(new_secret["timestamp"])
    assert later["credential"] == new_secret["credential"] != registered["credential"]
