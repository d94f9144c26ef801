"""Passwords cost little, whoever sends how many: a share of a core, a bounded queue, limits per address and account."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
import redis.asyncio as redis
from argon2 import PasswordHasher
from starlette.requests import ClientDisconnect

from leaderboard_core.errors import Unavailable
from leaderboard_core.settings import AuthSettings, load
from leaderboard_service.accounts.hashing import PasswordHashing
from tests.conftest import Start
from tests.support.redis_dump import dump
from tests.support.service import SECRET, Api

PASSWORD = "correct horse battery"


def passwords_with(**variables: object) -> PasswordHashing:
    given = {name: str(value) for name, value in variables.items()}
    return PasswordHashing(load(AuthSettings, {"JWT_SECRET": SECRET, "PASSWORD_CPU_SHARE": "1", **given}))


async def here() -> bool:
    return False


async def gone() -> bool:
    return True


async def call(api: Api, path: str, body: dict[str, Any], address: str) -> httpx.Response:
    return await api.http.post(path, json=body, headers={"X-Forwarded-For": address})


async def login(api: Api, password: str, address: str) -> httpx.Response:
    return await call(api, "/auth/login", {"user_id": "ann", "name": "ann", "password": password}, address)


async def test_more_than_may_wait_are_refused_at_once() -> None:
    passwords = passwords_with(PASSWORD_QUEUE_LENGTH=2)
    calls = [asyncio.create_task(passwords.hash(PASSWORD, here)) for _ in range(9)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Unavailable)]
    assert len(refused) == 9 - 2
    assert all(error.retry_after > 0 for error in refused)
    assert all(PasswordHasher().verify(result, PASSWORD) for result in results if isinstance(result, str))
    passwords.close()


async def test_logins_go_before_registrations_that_came_earlier() -> None:
    passwords, order = passwords_with(PASSWORD_QUEUE_LENGTH=9), []
    stored = PasswordHasher(parallelism=4).hash(PASSWORD)

    async def note(what: str, work: Any) -> Any:
        result = await work
        order.append(what)
        return result

    registrations = [asyncio.create_task(note("hash", passwords.hash(PASSWORD, here))) for _ in range(3)]
    await asyncio.sleep(0)
    logins = (passwords.verify(stored, PASSWORD, here), passwords.verify(stored, "wrong", here))
    assert [*await asyncio.gather(*(note("login", login) for login in logins))] == [True, False]
    assert order.count("hash") <= 1
    await asyncio.gather(*registrations)
    passwords.close()


async def test_hashes_take_no_more_than_their_share() -> None:
    passwords = passwords_with(PASSWORD_CPU_SHARE=0.2)
    await passwords.hash(PASSWORD, here)
    used, started = time.process_time(), time.monotonic()
    for _ in range(4):
        await passwords.hash(PASSWORD, here)
    used, seconds = time.process_time() - used, time.monotonic() - started
    assert used / seconds < 0.5  # without rest it is 1
    passwords.close()


async def test_nothing_is_hashed_for_who_has_left() -> None:
    passwords = passwords_with()
    first = asyncio.create_task(passwords.hash(PASSWORD, here))
    await asyncio.sleep(0)
    with pytest.raises(ClientDisconnect):
        await passwords.hash(PASSWORD, gone)
    await first
    left = asyncio.create_task(passwords.hash(PASSWORD, here))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    assert await passwords.verify(await passwords.hash(PASSWORD, here), PASSWORD, here)
    passwords.close()


async def test_a_damaged_hash_fits_no_password() -> None:
    passwords = passwords_with()
    assert not await passwords.verify("$argon2id$broken", PASSWORD, here)
    passwords.close()


async def test_a_taken_user_id_costs_no_hash(start: Start, all_redis: redis.Redis) -> None:
    api = await start(PASSWORD_QUEUE_LENGTH=1, PASSWORD_CPU_SHARE=0.001)
    await api.register("ann")
    before = await dump(all_redis)
    body = {"user_id": "ann", "name": "x", "region": "EU", "password": PASSWORD}
    answers = await asyncio.gather(*(api.post("/auth/register", body) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {409}
    assert await dump(all_redis) == before


async def test_a_flood_of_registrations_is_refused_early_and_owners_get_in(start: Start) -> None:
    api = await start(PASSWORD_QUEUE_LENGTH=2)
    await api.register("ann", password=PASSWORD)

    async def flood(number: int) -> httpx.Response:
        body = {"user_id": f"flood-{number}", "name": "x", "region": "EU", "password": PASSWORD}
        return await api.post("/auth/register", body)

    crowd = [asyncio.create_task(flood(number)) for number in range(30)]
    await asyncio.sleep(0.05)
    assert (await login(api, PASSWORD, "203.0.113.9")).status_code == 200
    answers = await asyncio.gather(*crowd)
    refused = [answer.json() for answer in answers if answer.status_code == 503]
    assert len(refused) >= 20
    assert all(body["error"] == "unavailable" and body["retry_after"] > 0 for body in refused)
    assert {answer.status_code for answer in answers} == {201, 503}


async def test_who_guesses_from_one_address_does_not_lock_the_owner_out(start: Start) -> None:
    api = await start(LOGIN_RATE_LIMIT_COUNT=3, LOGIN_ACCOUNT_RATE_LIMIT_COUNT=5, LOGIN_RATE_LIMIT_WINDOW=3600)
    await api.register("ann", password=PASSWORD)
    guesses = [(await login(api, "wrong guess", "203.0.113.1")).status_code for _ in range(5)]
    assert guesses == [401, 401, 401, 429, 429]
    assert (await login(api, PASSWORD, "203.0.113.1")).status_code == 429
    assert (await login(api, PASSWORD, "203.0.113.2")).status_code == 200
    spread = [(await login(api, "wrong guess", f"198.51.100.{number}")).status_code for number in range(6)]
    assert spread == [401] * 5 + [429]
    assert 0 < (await login(api, PASSWORD, "203.0.113.3")).json()["retry_after"] <= 720


async def test_passwords_and_registrations_are_limited_by_address(start: Start, all_redis: redis.Redis) -> None:
    api = await start(PASSWORD_RATE_LIMIT_COUNT=3, PASSWORD_RATE_LIMIT_WINDOW=86_400, REGISTRATION_RATE_LIMIT_COUNT=4)
    await api.register("ann", password=PASSWORD)

    async def register(user_id: str, address: str, **more: str) -> httpx.Response:
        return await call(api, "/auth/register", {"user_id": user_id, "name": "x", "region": "EU", **more}, address)

    assert (await register("a", "203.0.113.1", password=PASSWORD)).status_code == 201
    assert [(await login(api, PASSWORD, "203.0.113.1")).status_code for _ in range(3)] == [200, 200, 429]
    before = await dump(all_redis)
    refused = await register("b", "203.0.113.1", password=PASSWORD)
    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert await dump(all_redis) == before
    assert [(await register(f"c{n}", "203.0.113.1")).status_code for n in range(4)] == [201, 201, 201, 429]
    assert (await register("d", "203.0.113.2", password=PASSWORD)).status_code == 201
    assert (await register("e", "2001:db8::1")).status_code == 201
    assert [(await register(f"f{n}", "2001:db8::ffff")).status_code for n in range(4)] == [201, 201, 201, 429]
