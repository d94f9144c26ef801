"""Make the calls that the documentation shows: four players, every route, and every error of a service."""

from __future__ import annotations

from typing import Any

import redis.asyncio as redis

from leaderboard_core.redis.admission import REPARTITIONING
from leaderboard_core.settings import MAX_EXACT_INTEGER
from tests.conftest import Start
from tests.docs.recording import Recorder
from tests.support.events import listening
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import drained, working

PASSWORD = "correct horse battery"
ALICE: dict[str, Any] = {"user_id": "alice", "name": "Alice", "region": "EU", "initialScore": 100, "password": PASSWORD}
NOWHERE = "redis://127.0.0.1:1/0"


async def tell(start: Start, redis_1: redis.Redis, environ: dict[str, str]) -> Recorder:
    """Make every call against services on one empty Redis."""
    recorder = Recorder()
    api = await start(INSTANCE_NAME="service-1")
    async with working(environ, heartbeats=True):
        await _writes(recorder, api)
        await _reads(recorder, api)
        await drained(redis_1)
        await _whole_players(recorder, api)
        await drained(redis_1)
        await _definitions(recorder, api)
        await drained(redis_1)
        await recorder.call(api, "GET /health", title="A replica that serves")
        await recorder.call(api, "GET /status", title="Everything is saved")
    await _refusals(recorder, api, start)
    await _limits(recorder, start, api)
    full = await start(STREAM_BOARDS="1")
    async with listening(str(full.http.base_url), "/stream/top?region=EU"):
        await recorder.error(full, "too_many_streams", "GET /stream/top?region=NA")
    away = await start(ready=False, REDIS_URL=NOWHERE)
    await recorder.error(away, "unavailable", "POST /auth/register", ALICE)
    main = "PUT /boards/main"
    await recorder.error(away, "not_everywhere", main, {"title": "Season 4"}, token=api.admin_token())
    admission = await redis_1.get("shard:admission")
    await redis_1.set("shard:admission", f"{admission!s} {REPARTITIONING}")
    await recorder.error(api, "repartitioning", "POST /auth/register", {**ALICE, "user_id": "frank"})
    await redis_1.delete("shard:admission")

    async def warms_up() -> bool:  # a look that began before is shared with who asks during it
        return bool((await api.try_register("frank", "EU")).json()["error"] == "warming_up")

    await eventually(warms_up)
    await recorder.error(api, "warming_up", "POST /auth/register", {**ALICE, "user_id": "frank"})
    return recorder


async def _writes(recorder: Recorder, api: Api) -> None:
    call, server = recorder.call, api.server_token()
    registered = await call(api, "POST /auth/register", body=ALICE, title="With a password", status=201)
    alice = registered["token"]
    login = {"user_id": "alice", "name": "Alice", "password": PASSWORD}
    await call(api, "POST /auth/login", body=login, title="With a password")
    bob, card = api.player_token("bob", "EU", "Bob"), {"region": "EU", "initialScore": 250}
    await call(api, "POST /score/create", body=card, token=bob, title="A new player", status=201)
    await call(api, "POST /score/create", body=card, token=bob, title="The same again")
    await call(
        api, "POST /score/update", body={"score": 250, "rank": True}, token=alice, title="A new score, with ranks"
    )
    await call(api, "POST /score/add", body={"delta": 50}, token=alice, key="match-17", title="A match won")
    carol = {"user_id": "carol", "region": "NA", "score": 280, "name": "Carol"}
    await call(api, "POST /score", body=carol, token=server, server=True, title="By a game server")
    batch = [
        {"user_id": "carol", "region": "NA", "delta": 20},
        {"user_id": "dave", "region": "EU", "score": 250, "name": "Dave"},
        {"user_id": "erin", "region": "MARS", "score": 5},
    ]
    await call(
        api, "POST /scores", body={"scores": batch}, token=server, server=True, key="round-3", title="Two of three"
    )


async def _reads(recorder: Recorder, api: Api) -> None:
    call, server = recorder.call, api.server_token()
    await call(api, "GET /regions", title="The default ones")
    first = await call(api, "GET /top", "/top?region=EU&limit=2", title="The best two")
    rest = f"/top?region=EU&limit=2&cursor={first['next_cursor']}"
    await call(api, "GET /top", rest, title="The page after it")
    await call(api, "GET /range", "/range?min=280&limit=10", title="By score")
    await call(api, "GET /range", "/range?region=EU&from=2&to=3", title="By rank")
    await call(api, "GET /rank/{user_id}", "/rank/bob?region=EU", title="One player")
    await call(api, "POST /ranks", body={"user_ids": ["bob", "carol", "zoe"]}, title="Three friends")
    await call(api, "GET /around/{user_id}", "/around/bob?region=EU&range=1", title="One on each side")

    async def add(user_id: str) -> None:
        batch = {"scores": [{"user_id": user_id, "region": "EU", "delta": 100}]}
        answer = await api.post("/scores", batch, token=server)
        assert answer.json()["accepted"] == 1, answer.text

    top, place = "/stream/top?region=EU&limit=2", "/stream/rank/bob?region=EU&range=1"
    await recorder.stream(api, "GET /stream/top", top, title="Bob takes the lead", act=lambda: add("bob"))
    await recorder.stream(api, "GET /stream/rank/{user_id}", place, title="Dave draws level", act=lambda: add("dave"))


async def _whole_players(recorder: Recorder, api: Api) -> None:
    call, path = recorder.call, "/users/{user_id}"
    alice, server = api.player_token("alice", "EU", "Alice"), api.server_token()
    await call(api, f"GET {path}", "/users/alice", token=alice, title="One's own")
    await call(
        api,
        f"PUT {path}/password",
        "/users/alice/password",
        body={"password": "a better one", "old_password": PASSWORD},
        title="By oneself",
    )
    await call(api, f"POST {path}/secret", "/users/dave/secret", token=server, server=True, title="By a game server")
    await call(
        api, f"DELETE {path}", "/users/carol", token=server, server=True, key="carol-left", title="By a game server"
    )


async def _definitions(recorder: Recorder, api: Api) -> None:
    """Define the main board, and another one, which goes again."""
    call, admin, path = recorder.call, api.admin_token(), "/boards/{board}"
    rules = {"title": "Season 3", "min_score": 0, "max_step": 500}
    await call(api, f"PUT {path}", "/boards/main", rules, token=admin, admin=True, title="The main board")
    laps = {"title": "Fastest laps", "operator": "best", "order": "asc", "ties": "earliest", "decimals": 3}
    await call(api, f"PUT {path}", "/boards/laps", laps, token=admin, admin=True, status=201, title="A new board")
    lap = {"user_id": "alice", "region": "EU", "board": "laps", "score": 71_350, "rank": True}
    alice = api.player_token("alice", "EU", "Alice")
    await call(api, "POST /score", body=lap, token=alice, title="A lap, where low is good")
    entry = "/boards/{board}/entries/{user_id}"
    await call(api, f"DELETE {entry}", "/boards/laps/entries/alice", token=admin, admin=True, title="An entry")
    await call(api, "GET /boards", title="All of them")
    await call(api, f"GET {path}", "/boards/main", title="One board")
    await _laps(recorder, api)
    await call(api, f"DELETE {path}", "/boards/laps", token=admin, admin=True, title="An old board")


async def _laps(recorder: Recorder, api: Api) -> None:
    """Read the other board, with two players on it."""
    for user_id, score in (("bob", 83_120), ("dave", 81_905)):
        lap = {"user_id": user_id, "region": "EU", "score": score, "board": "laps"}
        assert (await api.post("/score", lap, token=api.server_token())).status_code == 200
    await recorder.call(api, "GET /top", "/top?board=laps&limit=2", title="Another board")
    await recorder.call(api, "GET /rank/{user_id}", "/rank/bob?board=laps", title="On another board")
    await recorder.call(api, "GET /users/{user_id}/entries", "/users/bob/entries", title="On two boards")
    await recorder.error(api, "no_entry", "GET /rank/alice?board=laps")


async def _refusals(recorder: Recorder, api: Api, start: Start) -> None:
    error, alice, server = recorder.error, api.player_token("alice", "EU", "Alice"), api.server_token()
    await error(api, "missing_token", "POST /score/add", {"delta": 1})
    await error(api, "invalid_token", "POST /score/add", {"delta": 1}, token="abc")
    wrong = {"user_id": "alice", "name": "Alice", "password": "wrong horse battery"}
    await error(api, "invalid_credentials", "POST /auth/login", wrong)
    await error(api, "forbidden_origin", "POST /auth/login", ALICE, origin="https://another.example")
    await error(api, "forbidden", "POST /score", {"user_id": "bob", "region": "EU", "score": 1}, token=alice)
    await error(api, "user_not_found", "GET /rank/zoe")
    await error(api, "not_found", "GET /nothing/here")
    await error(api, "method_not_allowed", "GET /score/add")
    await error(api, "user_exists", "POST /auth/register", ALICE)
    await error(api, "region_mismatch", "POST /score", {"user_id": "bob", "region": "NA", "score": 1}, token=server)
    await error(api, "payload_too_large", "POST /score/update", raw=b"x" * 1_048_577, token=alice)
    await error(api, "unsupported_media_type", "POST /score/update", {"score": 1}, token=alice, coding="gzip")
    await error(api, "invalid_payload", "POST /score/update", {"score": 1.5}, token=alice)
    await error(api, "unknown_region", "GET /top?region=MARS")
    bounded = await start(MAX_SCORE="1000", INSTANCE_NAME="service-1")
    await error(bounded, "score_out_of_bounds", "POST /score/update", {"score": 1001}, token=alice)
    admin = api.admin_token()
    await error(api, "board_not_found", "GET /boards/speed-run")
    await error(api, "main_board", "DELETE /boards/main", token=admin)
    await error(api, "fixed_field", "PUT /boards/main", {"order": "asc"}, token=admin)
    no_more = await start(BOARDS_MAX="0")
    await error(no_more, "too_many_boards", "PUT /boards/speed-run", {}, token=admin)
    await api.define({"open": False})
    await error(api, "board_closed", "POST /score/update", {"score": 300}, token=alice)
    await api.define({})
    await api.define({"operator": "best", "max_submits": 1}, "trials")
    trial = {"board": "trials", "score": 5}
    assert (await api.post("/score/update", trial, token=alice)).status_code == 200
    await error(api, "no_entry", "GET /rank/dave?board=trials")
    await error(api, "no_submits_left", "POST /score/update", trial, token=alice)
    await error(api, "wrong_operator", "POST /score/add", {"board": "trials", "delta": 5}, token=alice)
    await error(api, "metadata_too_large", "POST /score", with_metadata(), token=alice)
    await error(api, "score_out_of_range", "POST /score/add", {"delta": MAX_EXACT_INTEGER}, token=alice)
    await error(api, "idempotency_key_reused", "POST /score/add", {"delta": 51}, token=alice, key="match-17")


def with_metadata() -> dict[str, Any]:
    return {"user_id": "alice", "region": "EU", "score": 1, "metadata": {"level": "volcano"}}


async def _limits(recorder: Recorder, start: Start, api: Api) -> None:
    alice, bob = api.player_token("alice", "EU", "Alice"), api.player_token("bob", "EU", "Bob")
    one = {"delta": 1}
    hasty = await start(USER_RATE_LIMIT_COUNT=1)
    assert (await hasty.post("/score/add", one, token=alice)).status_code == 200
    await recorder.error(hasty, "rate_limited", "POST /score/add", one, token=alice)
    crowded = await start(REGION_RATE_LIMIT_PER_SEC=1)
    assert (await crowded.post("/score/add", one, token=bob)).status_code == 200
    await recorder.error(crowded, "region_rate_limited", "POST /score/add", one, token=bob)
    full = await start(QUEUE_REJECT_LENGTH=2)
    await recorder.error(full, "queue_full", "POST /score/add", one, token=bob)
