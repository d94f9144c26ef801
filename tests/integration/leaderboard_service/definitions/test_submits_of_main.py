"""The main board counts submits and keeps metadata, in every call, both stores, and through losses and repairs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from tests.conftest import Start
from tests.integration.leaderboard_service.definitions.test_enforcement import batch, unchanged
from tests.integration.leaderboard_service.players.test_users import refused
from tests.integration.worker_service.recovery.test_verify import found, repaired, verified
from tests.integration.worker_service.saving.test_returned_entries import returning
from tests.support.all_redis import AllRedis
from tests.support.service import Api
from tests.support.worker import EAGER, drained, event, push, working
from worker_service.recovery.rebuild import rebuild

CAR = {"car": "T 7", "n": 9007199254740991, "at": 0.1}
BIKE = {"bike": {"of": ["é", None, 1e100]}}


def shard_of(api: Api, user_id: str) -> Shard:
    return api.services.shard_map.shard_of("EU", user_id)


async def card(api: Api, user_id: str) -> tuple[int, dict[str, Any] | None]:
    shard = shard_of(api, user_id)
    submits, metadata = await shard.client.hmget(shard.keys.user(user_id), "submits", "metadata")
    return int(submits or 0), None if metadata is None else json.loads(metadata)


async def rows_of(databases: RegionDatabases) -> dict[str, tuple[int, dict[str, Any] | None]]:
    records = await databases["EU"].fetch("SELECT user_id, submits, metadata FROM leaderboard WHERE region = 'EU'")
    return {
        row["user_id"]: (row["submits"], None if not row["metadata"] else json.loads(row["metadata"]))
        for row in records
    }


async def submit(api: Api, user_id: str, score: int, metadata: object = None, **fields: object) -> None:
    body = {"user_id": user_id, "region": "EU", "score": score, "metadata": metadata, **fields}
    answer = await api.post("/score", body, token=api.server_token())
    assert answer.status_code in (200, 201), answer.text


async def test_submits_are_counted_and_end(any_api: Api, start: Start, all_redis: AllRedis) -> None:
    other = await start()
    own = await any_api.register("alice", "EU")
    assert (await any_api.define({"max_submits": 4})).status_code == 200
    key = {"token": own, "key": "match-1"}
    first = await other.post("/score/update", {"score": 5}, **key)
    assert (await other.post("/score/add", {"delta": 1}, token=own)).status_code == 200
    assert (await other.post("/score/update", {"score": 5}, **key)).json() == first.json()
    await submit(other, "alice", 6)
    assert [
        one["ok"] for one in await batch(other, {"user_id": "alice", "score": 7}, {"user_id": "alice", "score": 8})
    ] == [
        True,
        False,
    ]
    async with unchanged(all_redis):
        for response in (
            await other.post("/score/update", {"score": 9}, token=own),
            await other.post("/score/add", {"delta": 9}, token=own),
            await other.post("/score", {"user_id": "alice", "region": "EU", "score": 9}, token=other.server_token()),
        ):
            refused(response, 409, "no_submits_left")
            assert response.json()["max_submits"] == 4
    assert await card(other, "alice") == (4, None)


async def test_what_is_no_submit_is_not_counted(any_api: Api) -> None:
    assert (await any_api.define({"max_submits": 1})).status_code == 200
    assert (await any_api.define({}, "kills")).status_code == 201
    await any_api.register("alice", "EU")
    create = await any_api.post("/score/create", {"region": "EU"}, token=any_api.player_token("bob", "EU"))
    assert create.status_code == 201
    await submit(any_api, "carol", 5, board="kills")
    for user_id in ("alice", "bob", "carol"):
        await any_api.post(f"/users/{user_id}/secret", {}, token=any_api.server_token())
        assert await card(any_api, user_id) == (0, None)
    await submit(any_api, "alice", 1)
    await submit(any_api, "alice", 2, force=True)
    assert await card(any_api, "alice") == (1, None)
    # A score with which a player begins is one.
    await any_api.register("dan", "EU", 3)
    assert await card(any_api, "dan") == (1, None)
    # Where nothing is limited any more nothing is counted, and what was stays.
    assert (await any_api.define({})).status_code == 200
    await submit(any_api, "alice", 3)
    assert await card(any_api, "alice") == (1, None)


async def test_metadata_goes_with_its_score(
    any_api: Api, databases: RegionDatabases, environ: dict[str, str], all_redis: AllRedis
) -> None:
    api = any_api
    assert (await api.define({"metadata_bytes": 64})).status_code == 200
    await submit(api, "alice", 5, CAR)
    assert await card(api, "alice") == (0, CAR)
    await submit(api, "alice", 5)
    await api.post("/users/alice/secret", {}, token=api.server_token())
    assert (await api.define({}, "kills")).status_code == 201
    await submit(api, "alice", 1, board="kills", name="Alice the First")
    assert await card(api, "alice") == (0, CAR)
    own = api.player_token("alice", "EU")
    async with working(environ, block_seconds=0.05):
        await drained(all_redis)
        assert await rows_of(databases) == {"alice": (0, CAR)}
        assert (await api.post("/score/add", {"delta": 2, "metadata": BIKE}, token=own)).status_code == 200
        assert await card(api, "alice") == (0, BIKE)
        assert [one["ok"] for one in await batch(api, {"user_id": "alice", "score": 8, "metadata": CAR})] == [True]
        assert await card(api, "alice") == (0, CAR)
        long = await api.post("/score/update", {"score": 9, "metadata": {"a": "x" * 60}}, token=own)
        refused(long, 422, "metadata_too_large")
        assert long.json()["metadata_bytes"] == 64
        assert await card(api, "alice") == (0, CAR)
        assert (await api.post("/score/update", {"score": 9}, token=own)).status_code == 200
        assert await card(api, "alice") == (0, None)
        await drained(all_redis)
    assert await rows_of(databases) == {"alice": (0, None)}
    assert (await verified(environ, databases)).differences == []


async def test_it_may_only_grow_and_none_is_taken_before(any_api: Api, all_redis: AllRedis) -> None:
    own = await any_api.register("alice", "EU", 5)
    async with unchanged(all_redis):
        for answer in (
            await any_api.post("/score/update", {"score": 6, "metadata": {}}, token=own),
            await any_api.post("/score/add", {"delta": 6, "metadata": {}}, token=own),
        ):
            refused(answer, 422, "metadata_too_large")
            assert answer.json()["metadata_bytes"] == 0
        results = await batch(any_api, {"user_id": "alice", "score": 8, "metadata": {}})
        assert [one["error"] for one in results] == ["metadata_too_large"]
    assert (await any_api.define({"metadata_bytes": 10})).status_code == 200
    assert (await any_api.define({"metadata_bytes": 11, "keep_windows": 3})).status_code == 200
    for smaller in ({"metadata_bytes": 10}, {}):
        fixed = await any_api.define(smaller)
        refused(fixed, 409, "fixed_field")
        assert fixed.json()["field"] == "metadata_bytes"


async def shown(api: Api) -> dict[str, Any]:
    """Read alice's metadata in every way."""
    export = (await api.export("alice")).json()
    return {
        "top": (await api.get("/top", metadata=True)).json()["rows"][0]["metadata"],
        "range": (await api.get("/range", metadata=True, min=5)).json()["rows"][0]["metadata"],
        "rank": (await api.get("/rank/alice", metadata=True)).json()["metadata"],
        "around": (await api.get("/around/alice", region="EU", metadata=True)).json()["self"]["metadata"],
        "ranks": (await api.post("/ranks", {"user_ids": ["alice", "bob"], "metadata": True})).json()["rows"][0][
            "metadata"
        ],
        "entries": (await api.get("/users/alice/entries")).json()["entries"][0]["metadata"],
        "export": export["user"]["metadata"],
        "submits": export["user"]["submits"],
    }


async def test_every_read_shows_it_from_either_store(
    any_api: Api, environ: dict[str, str], all_redis: AllRedis
) -> None:
    assert (await any_api.define({"metadata_bytes": 64, "max_submits": 9})).status_code == 200
    await submit(any_api, "alice", 5, CAR)
    await submit(any_api, "bob", 4)
    async with working(environ, block_seconds=0.05):
        await drained(all_redis)
    expected = dict.fromkeys(("top", "range", "rank", "around", "ranks", "entries", "export"), CAR) | {"submits": 1}
    assert await shown(any_api) == expected
    assert "metadata" not in (await any_api.get("/top")).json()["rows"][0]
    assert (await any_api.get("/rank/bob", metadata=True)).json()["metadata"] is None
    await all_redis.flushdb()
    assert await shown(any_api) == expected
    assert (await any_api.get("/top")).headers["X-Leaderboard-Source"] == "postgres"


async def test_both_come_back_with_a_redis(
    any_api: Api, databases: RegionDatabases, environ: dict[str, str], all_redis: AllRedis
) -> None:
    assert (await any_api.define({"metadata_bytes": 64, "max_submits": 2})).status_code == 200
    async with working(environ, block_seconds=0.05):
        for score, metadata in ((1, BIKE), (5, CAR)):
            await submit(any_api, "alice", score, metadata)
        await drained(all_redis)
    for shard in any_api.services.shard_map.shards:
        await shard.client.flushdb()
        await rebuild(shard, databases, EAGER)
    assert await card(any_api, "alice") == (2, CAR)
    body = {"user_id": "alice", "region": "EU", "score": 6}
    refused(await any_api.post("/score", body, token=any_api.server_token()), 409, "no_submits_left")
    assert (await verified(environ, databases)).differences == []


@pytest.mark.parametrize(
    ("column", "value", "outcome"),
    [("submits", 7, "from_redis"), ("submits", 1, "from_redis"), ("metadata", '{"car":"stolen"}', "from_redis")],
)
async def test_verify_finds_what_differs_and_mends_it(
    any_api: Api,
    databases: RegionDatabases,
    environ: dict[str, str],
    all_redis: AllRedis,
    column: str,
    value: object,
    outcome: str,
) -> None:
    """Of one write: the greater number of submits stays, and metadata as Redis has it."""
    assert (await any_api.define({"metadata_bytes": 64, "max_submits": 9})).status_code == 200
    async with working(environ, block_seconds=0.05):
        for score, metadata in ((1, BIKE), (5, CAR)):
            await submit(any_api, "alice", score, metadata)
        await drained(all_redis)
    await databases["EU"].execute(f"UPDATE leaderboard SET {column} = $1", value)
    assert list(found(await verified(environ, databases))) == ["alice"]
    assert list((await repaired(environ, databases, all_redis)).values()) == [outcome]
    submits = max(2, value) if isinstance(value, int) else 2
    assert await card(any_api, "alice") == (submits, CAR)
    assert await rows_of(databases) == {"alice": (submits, CAR)}


async def test_a_newer_row_brings_its_own(
    any_api: Api, databases: RegionDatabases, environ: dict[str, str], all_redis: AllRedis
) -> None:
    assert (await any_api.define({"metadata_bytes": 64, "max_submits": 9})).status_code == 200
    async with working(environ, block_seconds=0.05):
        await submit(any_api, "alice", 5, CAR)
        await submit(any_api, "alice", 5, CAR)
        await drained(all_redis)
    await databases["EU"].execute(
        "UPDATE leaderboard SET submits = 1, metadata = $1, updated_at = updated_at + INTERVAL '1 hour'",
        '{"bike":1}',
    )
    assert list((await repaired(environ, databases, all_redis)).values()) == ["from_postgres"]
    assert await card(any_api, "alice") == (2, {"bike": 1})


@pytest.mark.parametrize("key", ["", "hash print 0 1700000000000001"])
async def test_what_was_refused_comes_back_with_both(
    any_api: Api, databases: RegionDatabases, environ: dict[str, str], all_redis: AllRedis, key: str
) -> None:
    metadata = {"key": "a 5", "timestamp": 3, "score": 4, "submits": 99, "n": 9007199254740991, "last": "}"}
    said: dict[str, Any] = {"key": key} if key else {}
    raw = json.dumps(json.loads(event("alice", 5, submits=3, **said, metadata=metadata)), separators=(",", ":"))
    assert await returning(shard_of(any_api, "alice"), databases).give_back([raw]) == 1
    assert await card(any_api, "alice") == (3, metadata)
    async with working(environ, block_seconds=0.05):
        await drained(all_redis)
    assert await rows_of(databases) == {"alice": (3, metadata)}
    assert (await verified(environ, databases)).differences == []


async def test_the_row_keeps_the_greatest_number(
    databases: RegionDatabases, environ: dict[str, str], all_redis: redis.Redis
) -> None:
    """Services of an earlier version count none, and events of one batch may come in any order."""
    at = 1_700_000_000_000_000
    async with working(environ, block_seconds=0.05):
        await push(all_redis, event("alice", 5, at, submits=3, metadata=CAR))
        await drained(all_redis)
        await push(all_redis, event("alice", 6, at + 1))
        await push(all_redis, event("bob", 6, at + 1), event("bob", 5, at, submits=2))
        await drained(all_redis)
    assert await rows_of(databases) == {"alice": (3, None), "bob": (2, None)}
