"""Another password or secret of a player: who may set it, and whose it is then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.tokens import NAME
from tests.conftest import Start, admit
from tests.integration.leaderboard_service.accounts.test_secrets import A_PASSWORD, log_in, saved_credentials, secret_of
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.redis_dump import dump
from tests.support.service import Api
from tests.support.worker import drained, working

ANOTHER = "another long password"


async def set_password(api: Api, user_id: str, token: str | None = None, **body: Any) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return await api.http.put(f"/users/{user_id}/password", json={"password": ANOTHER, **body}, headers=headers)


async def new_secret(api: Api, user_id: str, token: str | None = None) -> httpx.Response:
    return await api.post(f"/users/{user_id}/secret", {}, token=token or api.server_token())


async def test_a_server_gets_the_secret_of_the_player_that_it_made(any_api: Api) -> None:
    score = {"user_id": "npc", "name": "Npc", "region": "EU", "score": 3}
    assert (await any_api.post("/score", score, token=any_api.server_token())).status_code == 200
    first = (await new_secret(any_api, "npc")).json()["secret"]
    second = (await new_secret(any_api, "npc")).json()["secret"]
    assert first != second
    refused(await log_in(any_api, "npc", secret=first), 401, "invalid_credentials")
    assert (await log_in(any_api, "npc", secret=second)).json()["user"]["score"] == 3
    refused(await log_in(any_api, "npc", name="Npc"), 401, "invalid_credentials")


async def test_who_may_not_ask_for_a_secret(api: Api) -> None:
    own = await api.register("alice", "EU")
    refused(await new_secret(api, "alice", own), 403, "forbidden")
    refused(await new_secret(api, "nobody"), 404, "user_not_found")
    refused(await api.post("/users/alice/secret", {}), 401, "missing_token")


async def test_a_first_password_takes_the_secret_or_a_server(any_api: Api) -> None:
    for user_id, how in (("a", "secret"), ("b", "both"), ("c", "server")):
        registered = (await any_api.try_register(user_id, "EU", 5)).json()
        refused(await set_password(any_api, user_id, registered["token"]), 403, "forbidden")
        proof = {} if how == "server" else {"secret": registered["secret"]}
        token = {"secret": None, "both": registered["token"], "server": any_api.server_token()}[how]
        answer = await set_password(any_api, user_id, token, **proof)
        assert (answer.status_code, answer.json()) == (200, {"ok": True, "user_id": user_id})
        assert (await log_in(any_api, user_id, password=ANOTHER)).json()["user"]["score"] == 5
        refused(await log_in(any_api, user_id, name=user_id), 401, "invalid_credentials")
        # The secret is not for a second one.
        answer = await set_password(any_api, user_id, secret=registered["secret"], password="yet another one")
        refused(answer, 403, "forbidden")


async def test_another_password_takes_the_old_one(any_api: Api) -> None:
    own = await any_api.register("alice", "EU", password=A_PASSWORD)
    refused(await set_password(any_api, "alice", own), 403, "forbidden")
    refused(await set_password(any_api, "alice", old_password="a wrong password"), 401, "invalid_credentials")
    assert (await log_in(any_api, "alice", password=A_PASSWORD)).status_code == 200
    assert (await set_password(any_api, "alice", old_password=A_PASSWORD)).status_code == 200
    refused(await log_in(any_api, "alice", password=A_PASSWORD), 401, "invalid_credentials")
    assert (await log_in(any_api, "alice", password=ANOTHER)).status_code == 200
    # A server's token needs neither: somebody has forgotten it.
    assert (await set_password(any_api, "alice", any_api.server_token(), password=A_PASSWORD)).status_code == 200
    assert (await log_in(any_api, "alice", password=A_PASSWORD)).status_code == 200


async def test_who_may_not_set_a_password(api: Api, databases: RegionDatabases, all_redis: redis.Redis) -> None:
    await api.register("alice", "EU")
    await api.register("bob", "EU", password=A_PASSWORD)
    assert (await api.export("alice", api.player_token("alice", "EU", issued_at=0))).status_code == 200
    by_name = (await log_in(api, "alice", name="alice")).json()["token"]
    for token, proof, status, code in (
        (None, {}, 401, "missing_token"),
        ("no token", {}, 401, "invalid_token"),
        (by_name, {}, 403, "forbidden"),
        (api.player_token("alice", "EU", method=NAME), {"secret": "0" * 32}, 401, "invalid_credentials"),
        (api.player_token("bob", "EU"), {}, 403, "forbidden"),
        (api.player_token("alice", "NA"), {}, 409, "region_mismatch"),
        (api.player_token("alice", "EU"), {}, 403, "forbidden"),  # there is a secret to send
    ):
        before = await dump(all_redis)
        refused(await set_password(api, "alice", token, **proof), status, code)
        kept = {key: value for key, value in (await dump(all_redis)).items() if "bucket" not in key}
        assert kept == {key: value for key, value in before.items() if "bucket" not in key}
    refused(await set_password(api, "nobody", api.server_token()), 404, "user_not_found")
    refused(await set_password(api, "alice", api.server_token(), password="short"), 422, "invalid_payload")
    assert await databases["EU"].fetchval("SELECT count(*) FROM accounts") == 1


async def test_who_has_no_secret_sets_a_first_password_with_a_token(api: Api) -> None:
    token = api.player_token("cleo", "EU", method="game")
    assert (await api.post("/score/create", {"region": "EU"}, token=token)).status_code == 201
    refused(await set_password(api, "cleo", api.player_token("cleo", "EU", method=NAME)), 403, "forbidden")
    assert (await set_password(api, "cleo", token)).status_code == 200
    assert (await log_in(api, "cleo", password=ANOTHER)).status_code == 200


@asynccontextmanager
async def hashes_held(api: Api) -> AsyncIterator[asyncio.Event]:
    """Let passwords that are hashed in this block wait for its end, as in a long line; yields when one does."""
    passwords, go, waits = api.services.credential_changes._passwords, asyncio.Event(), asyncio.Event()
    hashing = passwords.hash

    async def hash_later(password: str, is_gone: Any) -> str:
        found = await hashing(password, is_gone)
        waits.set()
        await go.wait()
        return found

    passwords.hash = hash_later  # type: ignore[method-assign]
    try:
        yield waits
    finally:
        passwords.hash = hashing  # type: ignore[method-assign]
        go.set()


async def test_a_secret_that_was_replaced_meanwhile_sets_no_password(api: Api) -> None:
    secret = await secret_of(api, "alice")
    async with hashes_held(api) as waits:
        changing = asyncio.create_task(set_password(api, "alice", secret=secret))
        await asyncio.wait_for(waits.wait(), 60)
        another = (await new_secret(api, "alice")).json()["secret"]
    refused(await changing, 401, "invalid_credentials")
    assert (await log_in(api, "alice", secret=another)).status_code == 200
    assert (await set_password(api, "alice", secret=another)).status_code == 200


async def test_of_two_first_passwords_at_once_one_counts(api: Api, databases: RegionDatabases) -> None:
    secret = await secret_of(api, "alice")
    both = await asyncio.gather(
        *(set_password(api, "alice", secret=secret, password=f"a long password {number}") for number in range(2))
    )
    assert sorted(answer.status_code for answer in both) == [200, 401]
    winner = [answer.status_code for answer in both].index(200)
    assert (await log_in(api, "alice", password=f"a long password {winner}")).status_code == 200


async def test_a_token_from_before_the_password_that_does_not_say_how_it_was_got(api: Api) -> None:
    secret = await secret_of(api, "alice")
    by_name = api.player_token("alice", "EU", method="")
    assert (await set_password(api, "alice", secret=secret)).status_code == 200
    refused(await api.export("alice", by_name), 403, "forbidden")
    refused(await api.delete("alice", by_name), 403, "forbidden")
    later = api.player_token("alice", "EU", method="")
    assert (await api.export("alice", later)).status_code == 200
    assert (await api.delete("alice", later)).status_code == 200


async def test_tries_of_the_old_password_are_limited(start: Start) -> None:
    api = await start(LOGIN_RATE_LIMIT_COUNT=3, LOGIN_RATE_LIMIT_WINDOW=3600)
    await api.register("ann", "EU", password=A_PASSWORD)
    tries = [(await set_password(api, "ann", old_password="a wrong guess")).status_code for _ in range(4)]
    assert tries == [401, 401, 401, 429]
    refused(await log_in(api, "ann", password=A_PASSWORD), 429, "rate_limited")


async def test_where_passwords_are_required_a_secret_sets_the_first_one(start: Start) -> None:
    open_ = await start()
    await open_.post("/score", {"user_id": "npc", "region": "EU", "score": 3}, token=open_.server_token())
    api = await start(AUTH_REQUIRE_PASSWORD="true")
    secret = (await new_secret(api, "npc")).json()["secret"]
    refused(await log_in(api, "npc", secret=secret), 422, "invalid_payload")
    assert (await set_password(api, "npc", secret=secret)).status_code == 200
    assert (await log_in(api, "npc", password=ANOTHER)).status_code == 200


async def test_a_change_of_a_deleted_players_password_leaves_its_successor_alone(
    api: Api, databases: RegionDatabases
) -> None:
    """The old password is right when it is looked at; then the player is deleted and made anew by somebody else."""
    await api.register("alice", "EU", password=A_PASSWORD)
    async with hashes_held(api) as waits:
        changing = asyncio.create_task(set_password(api, "alice", old_password=A_PASSWORD))
        await asyncio.wait_for(waits.wait(), 60)
        assert (await api.delete("alice")).status_code == 200
        secret = await secret_of(api, "alice")
    refused(await changing, 404, "user_not_found")
    assert (await log_in(api, "alice", secret=secret)).status_code == 200
    refused(await log_in(api, "alice", password=ANOTHER), 401, "invalid_credentials")
    assert await databases["EU"].fetchval("SELECT count(*) FROM accounts") == 0


@pytest.mark.parametrize("lost", [False, True])
async def test_changes_are_saved_and_come_back(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis, lost: bool
) -> None:
    api = await start()
    await secret_of(api, "alice")
    await secret_of(api, "bob")
    secret = (await new_secret(api, "alice")).json()["secret"]
    assert (await set_password(api, "bob", api.server_token())).status_code == 200
    async with working(environ):
        await drained(all_redis)
    assert (await saved_credentials(databases))["alice"] == await all_redis.hget("user:alice", "credential")
    assert await databases["EU"].fetchval("SELECT protected FROM leaderboard WHERE user_id = 'bob'")
    if lost:
        await all_redis.flushall()
        await admit(environ, databases)
    assert (await log_in(api, "alice", secret=secret)).status_code == 200
    assert (await log_in(api, "bob", password=ANOTHER)).status_code == 200
    refused(await log_in(api, "bob", name="bob"), 401, "invalid_credentials")
    assert await api.scores("EU") == {"alice": 5, "bob": 5}
