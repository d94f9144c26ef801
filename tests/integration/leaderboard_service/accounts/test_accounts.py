"""Registration and login: who may enter, and where passwords are."""

from __future__ import annotations

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from tests.conftest import Start
from tests.support.layouts import WHOLE_LIMITS
from tests.support.redis_dump import dump
from tests.support.service import Api, gather


async def test_register_gives_a_token_and_a_place_on_the_boards(any_api: Api) -> None:
    response = await any_api.try_register("alice", "asia", 50, name="Alice")
    assert response.status_code == 201
    body = response.json()
    assert body["ok"] is True
    assert body["user"] == {"user_id": "alice", "name": "Alice", "region": "ASIA", "score": 50}
    assert any_api.tokens.verify(body["token"]).region == "ASIA"
    assert await any_api.scores("ASIA") == await any_api.scores("GLOBAL") == {"alice": 50}
    assert await any_api.scores("EU") == {}


async def test_initial_score_is_zero_when_it_is_not_given(api: Api) -> None:
    response = await api.post("/auth/register", {"user_id": "a", "name": "A", "region": "EU"})
    assert response.json()["user"]["score"] == 0


async def test_ids_that_differ_by_case_are_two_players(any_api: Api) -> None:
    await any_api.register("Zed", "EU", 7, name="Zed")
    await any_api.register("zed", "EU", 5, name="Zed")
    await any_api.register("straße", "NA", 3)
    await any_api.register("STRASSE", "EU", 1)
    assert await any_api.scores() == {"Zed": 7, "zed": 5, "straße": 3, "STRASSE": 1}
    assert [(await any_api.get(f"/rank/{user_id}")).json()["score"] for user_id in ("Zed", "zed")] == [7, 5]
    assert (await any_api.get("/rank/ZED")).status_code == 404


async def test_an_id_in_another_unicode_form_is_refused_and_not_changed(any_api: Api) -> None:
    await any_api.register("jos\u00e9", "EU", 7)
    response = await any_api.try_register("jose\u0301", "EU", 9)
    assert (response.status_code, response.json()["error"]) == (422, "invalid_payload")
    assert "NFC" in response.json()["fields"][0]["message"]
    assert await any_api.scores() == {"jos\u00e9": 7}


@pytest.mark.parametrize("region", ["ASIA", "EU", "NA", "GLOBAL"])
async def test_a_taken_user_id_is_refused_in_every_region(any_api: Api, region: str, all_redis: redis.Redis) -> None:
    await any_api.register("alice", "EU", 7)
    before = await dump(all_redis)
    response = await any_api.try_register("alice", region, 9)
    assert (response.status_code, response.json()["error"]) == (409, "user_exists")
    assert await dump(all_redis) == before


async def test_login_gives_a_token_for_the_stored_player(any_api: Api) -> None:
    await any_api.register("alice", "EU", name="Alice")
    response = await any_api.login("alice", name="Alice")
    assert response.status_code == 200
    who = any_api.tokens.verify(response.json()["token"])
    assert (who.user_id, who.name, who.region, who.role) == ("alice", "Alice", "EU", "player")
    assert (await any_api.login("alice", name="Alice", region="eu")).status_code == 200


async def test_login_refuses_what_does_not_belong_together(any_api: Api) -> None:
    await any_api.register("alice", "EU", name="Alice")
    for response, status, code in (
        (await any_api.login("bob"), 404, "user_not_found"),
        (await any_api.login("alice", name="alice"), 401, "invalid_credentials"),
        (await any_api.login("alice", name="Alice", region="NA"), 409, "region_mismatch"),
        (await any_api.login("alice", name="Alice", region="MARS"), 422, "unknown_region"),
        (await any_api.login("alice", name="Alice", password="not needed here"), 401, "invalid_credentials"),
        (await any_api.login("alice", name="Alice", password="short"), 422, "invalid_payload"),
    ):
        assert (response.status_code, response.json()["error"]) == (status, code)


PASSWORD = "correct horse battery"


async def test_a_password_is_needed_and_kept_in_postgres_only(
    any_api: Api, databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    await any_api.register("alice", "EU", password=PASSWORD)
    stored = await databases["EU"].fetchval("SELECT password_hash FROM accounts WHERE user_id = 'alice'")
    assert stored.startswith("$argon2id$")
    for region in ("ASIA", "NA", "GLOBAL"):
        assert await databases[region].fetchval("SELECT count(*) FROM accounts") == 0
    everything = repr(await dump(all_redis))
    assert "alice" in everything
    assert PASSWORD not in everything
    assert "argon2" not in everything

    assert (await any_api.login("alice", password=PASSWORD)).status_code == 200
    for password in (None, PASSWORD + " "):
        response = await any_api.login("alice", password=password)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_credentials")


async def test_a_password_stays_needed_after_other_writes(any_api: Api) -> None:
    token = await any_api.register("alice", "EU", password=PASSWORD)
    assert (await any_api.post("/score/add", {"delta": 5}, token=token)).status_code == 200
    body = {"user_id": "alice", "region": "EU", "score": 9, "name": "Alicia"}
    assert (await any_api.post("/score", body, token=any_api.server_token())).status_code == 200
    assert (await any_api.login("alice", name="Alicia")).status_code == 401
    assert (await any_api.login("alice", name="Alicia", password=PASSWORD)).status_code == 200


@pytest.mark.parametrize("region", ["ASIA", "EU"])
async def test_registering_an_existing_player_with_a_password_does_not_lock_its_owner_out(
    any_api: Api, databases: RegionDatabases, region: str
) -> None:
    await any_api.register("alice", "ASIA", 3)
    response = await any_api.try_register("alice", region, password="password of a thief")
    assert (response.status_code, response.json()["error"]) == (409, "user_exists")
    assert (await any_api.login("alice")).status_code == 200
    assert (await any_api.login("alice", password="password of a thief")).status_code == 401
    for name in databases.regions:
        assert await databases[name].fetchval("SELECT count(*) FROM accounts") == 0


async def test_registering_a_protected_player_again_keeps_its_password(
    any_api: Api, databases: RegionDatabases
) -> None:
    await any_api.register("alice", "EU", password=PASSWORD)
    assert (await any_api.try_register("alice", "EU", password="password of a thief")).status_code == 409
    assert (await any_api.try_register("alice", "EU")).status_code == 409
    assert (await any_api.login("alice", password=PASSWORD)).status_code == 200


@WHOLE_LIMITS
async def test_a_refused_registration_leaves_no_account(start: Start, databases: RegionDatabases) -> None:
    api = await start(QUEUE_REJECT_LENGTH=1)
    await api.register("first", "EU")
    response = await api.try_register("alice", "EU", password=PASSWORD)
    assert (response.status_code, response.json()["error"]) == (429, "queue_full")
    assert await databases["EU"].fetchval("SELECT count(*) FROM accounts") == 0
    assert (await api.login("alice", password=PASSWORD)).status_code == 404


async def test_passwords_may_be_required(start: Start) -> None:
    open_api = await start()
    await open_api.register("open", "EU")
    api = await start(AUTH_REQUIRE_PASSWORD="true")
    response = await api.try_register("alice", "EU")
    assert (response.status_code, response.json()["error"]) == (422, "invalid_payload")
    assert response.json()["fields"][0]["field"] == "password"
    assert (await api.login("open")).status_code == 422
    assert (await api.login("open", password=PASSWORD)).status_code == 401
    await api.register("alice", "EU", password=PASSWORD)
    assert (await api.login("alice", password=PASSWORD)).status_code == 200


async def test_only_one_of_many_registrations_with_passwords_wins(any_api: Api, databases: RegionDatabases) -> None:
    regions = ["ASIA", "EU", "ASIA"]
    passwords = [f"password number {n}" for n in range(3)]
    calls = [any_api.try_register("alice", region, password=p) for region, p in zip(regions, passwords, strict=True)]
    responses = await gather(calls)
    winners = [number for number, response in enumerate(responses) if response.status_code == 201]
    assert len(winners) == 1, [response.text for response in responses]
    assert sorted(response.status_code for response in responses) == [201, 409, 409]
    for number, password in enumerate(passwords):
        status = (await any_api.login("alice", password=password)).status_code
        assert status == (200 if number == winners[0] else 401)
    counts = [await databases[region].fetchval("SELECT count(*) FROM accounts") for region in databases.regions]
    assert sum(counts) == 1
