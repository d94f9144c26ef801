"""What crashes leave behind: a worker's batch in flight while Redis loses its data, a password without its player."""

from __future__ import annotations

import redis.asyncio as redis
from argon2 import PasswordHasher

from leaderboard_core.postgres.databases import RegionDatabases
from tests.conftest import Start, admit
from tests.support.proxy import proxy
from tests.support.waiting import eventually
from tests.support.worker import drained, rows, working


async def test_a_batch_in_flight_survives_the_loss_of_redis(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start()
    token = await api.register("alice", "EU", 1)
    async with proxy(environ["DATABASE_URL_EU"]) as between:
        slow = {**environ, "DATABASE_URL_EU": between.url, "POSTGRES_TIMEOUT_SECONDS": "20"}
        async with working(slow):
            await drained(all_redis)
            between.hold()
            assert (await api.post("/score/add", {"delta": 8}, token=token)).status_code == 200
            await api.register("newbie", "EU", 4, password="a long password")

            async def in_flight() -> bool:
                return bool(between.held_bytes)

            await eventually(in_flight, "the upsert on its way")
            await all_redis.flushdb()
            await admit(environ, databases)
            between.release()

            async def same() -> bool:
                saved = {user_id: row[1] for user_id, row in (await rows(databases)).items()}
                return saved.get("alice") == 9 and await api.scores() == saved

            await eventually(same, "Redis having what Postgres has")


async def test_a_password_that_was_left_over_is_nobodys(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start()
    # A registration died between saving the password and making the player.
    left_over = PasswordHasher().hash("the password of the dead one")
    await databases["EU"].execute("INSERT INTO accounts (user_id, password_hash) VALUES ('alice', $1)", left_over)
    await api.register("alice", "EU", 3)
    await api.register("pia", "EU", 3, password="a long password")
    async with working(environ):
        await drained(all_redis)
    for rebuilt in (False, True):
        if rebuilt:
            await all_redis.flushdb()
            await admit(environ, databases)
        assert (await api.login("alice")).status_code == 200
        assert (await api.login("alice", password="the password of the dead one")).status_code == 401
        assert (await api.login("pia")).status_code == 401
        assert (await api.login("pia", password="a long password")).status_code == 200
