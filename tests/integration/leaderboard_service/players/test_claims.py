"""One user_id is one player, on however many Redis, whoever registers it at the same time and whatever breaks."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from tests.conftest import Start
from tests.support.infrastructure import Infrastructure
from tests.support.layouts import Layout
from tests.support.proxy import proxy
from tests.support.redis_dump import dump
from tests.support.service import Api, gather
from tests.support.waiting import eventually

PASSWORD = "correct horse battery"


async def homes_of(user_id: str, *clients: redis.Redis) -> list[str]:
    """The regions in which a player is stored."""
    found: list[str] = []
    for client in clients:
        region = await client.hget(f"user:{user_id}", "region")
        if region:
            found.append(str(region))
    return found


async def test_of_many_registrations_in_many_regions_one_wins(
    start: Start, redis_1: redis.Redis, redis_2: redis.Redis
) -> None:
    replicas = [await start(layout="two-redis") for _ in range(2)]
    for user_id in ("alice", "bob", "日本", "🎮"):  # they are arbitrated by different Redis
        responses = await gather(
            [
                replicas[n % 2].try_register(user_id, ("ASIA", "EU", "NA", "GLOBAL")[n % 4], n, name=f"n{n}")
                for n in range(16)
            ]
        )
        winners = [response.json()["user"] for response in responses if response.status_code == 201]
        assert len(winners) == 1
        assert [response.status_code for response in responses].count(409) == 15
        assert await homes_of(user_id, redis_1, redis_2) == [winners[0]["region"]]
        board = await replicas[0].top()
        assert [row["region"] for row in board["rows"] if row["user_id"] == user_id] == [winners[0]["region"]]
        events = [
            event
            for client in (redis_1, redis_2)
            for region in ("ASIA", "EU", "NA", "GLOBAL")
            for event in await client.lrange(f"queue:scores:{region}", 0, -1)
        ]
        assert sum(f'"name":"{winners[0]["name"]}"' in event for event in events) >= 1
    leftovers = [key for client in (redis_1, redis_2) async for key in client.scan_iter("claim:*")]
    assert leftovers == []


async def test_of_many_servers_that_make_one_player_in_one_region_all_succeed(start: Start, any_layout: Layout) -> None:
    replicas = [await start(layout=any_layout) for _ in range(2)]
    responses = await gather(
        [
            replicas[n % 2].post(
                "/score", {"user_id": "new", "region": "EU", "score": n}, token=replicas[0].server_token()
            )
            for n in range(12)
        ]
    )
    assert {response.status_code for response in responses} == {200}, [response.text for response in responses]
    last = max((response.json() for response in responses), key=lambda body: body["updated_at"])
    assert await replicas[0].scores() == {"new": last["score"]}


async def test_of_many_servers_that_make_one_player_in_several_regions_one_region_wins(
    sharded_api: Api, redis_1: redis.Redis, redis_2: redis.Redis
) -> None:
    responses = await gather(
        [
            sharded_api.post(
                "/score",
                {"user_id": "new", "region": ("ASIA", "EU")[n % 2], "score": n},
                token=sharded_api.server_token(),
            )
            for n in range(12)
        ]
    )
    homes = {response.json()["region"] for response in responses if response.status_code == 200}
    assert len(homes) == 1
    assert await homes_of("new", redis_1, redis_2) == list(homes)
    refused = [response.json() for response in responses if response.status_code != 200]
    assert {(body["error"], body["region"]) for body in refused} == {("region_mismatch", *homes)}


async def test_a_claim_of_a_dead_process_ends(start: Start) -> None:
    """A process that died over a registration leaves its lease, which holds others off until it ends."""
    api = await start(layout="two-redis")
    home = api.services.shard_map.claim_shard_of("asia")
    await home.client.set(home.keys.claim("asia"), "of a dead process", px=300)
    first = await api.try_register("asia", "ASIA")
    assert (first.status_code, first.json()["error"]) == (409, "user_exists")

    async def registered() -> bool:
        return (await api.try_register("asia", "ASIA")).status_code == 201

    await eventually(registered)


@pytest.mark.layout(
    *("one-redis", "two-partitions", "cluster"),
    why="where regions have Redis of their own, writes wait for a claim, and this one is held for a minute",
)
async def test_nobody_slips_past_somebody_elses_claim(api: Api, all_redis: redis.Redis) -> None:
    await all_redis.set("claim:alice", "somebody's", px=60_000)
    before = await dump(all_redis)
    response = await api.try_register("alice", "EU")
    assert (response.status_code, response.json()["error"]) == (409, "user_exists")
    item = {"user_id": "alice", "region": "EU", "score": 1}
    waiting = [
        asyncio.create_task(api.post(path, body, token=token))
        for path, body, token in (
            ("/score/create", {"region": "EU"}, api.player_token("alice", "EU")),
            ("/score", item, api.server_token()),
            ("/scores", {"scores": [item]}, api.server_token()),
        )
    ]
    done, _ = await asyncio.wait(waiting, timeout=0.3)
    assert not done
    assert await dump(all_redis) == before
    await all_redis.delete("claim:alice")
    assert {(await one).status_code for one in waiting} <= {200, 201}
    assert await api.scores("EU") == {"alice": 1}


async def test_a_delayed_write_of_a_registration_that_gave_up_does_not_make_a_second_player(
    start: Start, infra: Infrastructure, redis_1: redis.Redis, redis_2: redis.Redis
) -> None:
    """The write to EU's Redis hangs in the network; the client is told 503, and registers elsewhere."""
    async with proxy(infra.redis_urls[1]) as slow:
        direct = await start(layout="two-redis")
        delayed = await start(layout="two-redis", ready=False, REDIS_URL_EU=slow.url, REDIS_TIMEOUT_SECONDS=0.5)
        user_id = next(
            f"u{n}"
            for n in range(99)
            if infra.redis_urls[0].startswith(direct.services.shard_map.claim_shard_of(f"u{n}").name)
        )
        assert (await delayed.try_register("warm-up", "EU")).status_code == 201
        # The first write asks whether the player is there; the second one, under the claim, makes it.
        slow.hold_when(b"register", user_id.encode(), count=2)
        first = await delayed.try_register(user_id, "EU")
        assert (first.status_code, first.json()["error"]) == (503, "unavailable")
        assert slow.held_bytes
        second = await direct.try_register(user_id, "ASIA")
        answers = slow.answers_seen
        slow.release()

        async def processed() -> bool:
            return slow.answers_seen > answers

        await eventually(processed)
        homes = await homes_of(user_id, redis_1, redis_2)
        assert len(homes) <= 1, f"{user_id} lives in {homes} after {first.status_code} and {second.status_code}"


async def test_a_password_stays_when_the_write_that_makes_its_player_is_late(
    start: Start, infra: Infrastructure, redis_1: redis.Redis
) -> None:
    """The client is told 503, and then the player is there: it must not be one without a password."""
    async with proxy(infra.redis_urls[0]) as slow:
        direct = await start()
        delayed = await start(ready=False, REDIS_URL=slow.url, REDIS_TIMEOUT_SECONDS=0.5)
        slow.hold_when(b"register", b"alice")
        response = await delayed.try_register("alice", "EU", password=PASSWORD)
        assert (response.status_code, response.json()["error"]) == (503, "unavailable")
        slow.release()
        await eventually(lambda: redis_1.exists("user:alice"), "the late write")
        assert (await direct.login("alice", password=PASSWORD)).status_code == 200


async def test_a_late_save_of_a_password_does_not_replace_that_of_the_player(
    start: Start, infra: Infrastructure, databases: RegionDatabases, environ: dict[str, str], all_redis: redis.Redis
) -> None:
    """One registration hangs on its way to Postgres until its claim has ended; meanwhile another one succeeds."""
    async with proxy(environ["DATABASE_URL_EU"]) as slow:
        direct = await start()
        delayed = await start(ready=False, DATABASE_URL_EU=slow.url, POSTGRES_TIMEOUT_SECONDS=30)
        await delayed.register("warm-up", "EU", password=PASSWORD)
        slow.hold()
        late = asyncio.create_task(delayed.try_register("alice", "EU", password="password of the late one"))

        async def sent() -> bool:
            return bool(slow.held_bytes)

        await eventually(sent)
        assert await all_redis.delete("claim:alice") == 1  # as Redis does when the lease ends
        await direct.register("alice", "EU", password=PASSWORD)
        slow.release()
        response = await late
        assert response.status_code in (409, 503)
        assert (await direct.login("alice", password="password of the late one")).status_code == 401
        assert (await direct.login("alice", password=PASSWORD)).status_code == 200
