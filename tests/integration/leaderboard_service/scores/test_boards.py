"""Scores on boards other than `main`: what each operator makes of them, against a model in plain Python."""

from __future__ import annotations

import asyncio
import json
import random
from itertools import product
from typing import Any, Final

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_core.boards import ALL, Board, Definition, Operator, Order, Place, Rules, Ties
from leaderboard_core.entries import Entry, encode, merge_all
from leaderboard_core.events import ScoreEvent, decode
from leaderboard_core.redis.definitions import read_definition, restore_definitions
from leaderboard_core.redis.keys import GLOBAL
from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.boards.redis_boards import RedisBoards
from tests.conftest import Start
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.boards import BoardModel, define_on
from tests.support.entries import entries_in
from tests.support.redis_dump import dump
from tests.support.service import Api

OPERATORS: Final[tuple[Operator, ...]] = ("latest", "best", "sum")
ORDERS: Final[tuple[Order, ...]] = ("desc", "asc")
TIES: Final[tuple[Ties, ...]] = ("shared", "earliest")
KINDS = tuple(product(OPERATORS, ORDERS, TIES))
NARROW: dict[str, Any] = {"min_score": -6, "max_score": 6, "max_step": 5, "max_submits": 6, "metadata_bytes": 12}
PLAYERS = ("ann", "bob", "Cyd", "đan")
HOMES = dict(zip(PLAYERS, ("EU", "ASIA", "EU", "NA"), strict=True))


def board_of(number: int, *, narrow: bool = False, regions: bool = True) -> Board:
    operator, order, ties = KINDS[number]
    rules = Rules(operator=operator, order=order, ties=ties, regions=regions, **(NARROW if narrow else {}))
    return Board(f"b{number}", 100 + number, 1, rules)


async def submit(api: Api, chance: random.Random, model: BoardModel) -> None:
    """Send one score in one of the ways that there are, and compare the answer."""
    user_id, amount = chance.choice(PLAYERS), chance.randint(-7, 7)
    region, name, token = HOMES[user_id], model.board.name, api.server_token()
    own = api.player_token(user_id, region)
    body: dict[str, Any] = {"board": name, "metadata": chance.choice([None, None, {"n": 1}, {"n": 23456789}])}
    item = {**body, "user_id": user_id, "region": region}
    way = chance.choice(["set", "set", "add", "own", "batch", "batch add", "force"])
    adds, force = way in ("add", "batch add"), way == "force"
    match way:
        case "add":
            response = await api.post("/score/add", {**body, "delta": amount}, token=own)
        case "own":
            response = await api.post("/score", {**item, "score": amount}, token=own)
        case "batch" | "batch add":
            one = {**item, "delta" if adds else "score": amount}
            response = await api.post("/scores", {"scores": [one]}, token=chance.choice([token, own]))
        case _:
            response = await api.post("/score", {**item, "score": amount, "force": force}, token=token)
    answer = response.json()
    if way.startswith("batch"):
        answer = answer["results"][0]
    code, score, before = model.submit(user_id, amount, adds=adds, force=force, metadata=body["metadata"])
    if code:
        assert answer["error"] == code, (way, amount, answer)
        return
    assert (answer["board"], answer["score"], answer["previous"]) == (name, score, before), (way, amount, answer)
    assert answer["improved"] is (before is None or model.better(score or 0, before))


@pytest.mark.parametrize("number", range(len(KINDS)))
async def test_every_kind_of_board_is_what_its_rules_say(any_api: Api, number: int) -> None:
    shard_map = any_api.services.shard_map
    models = [
        BoardModel(board_of(number)),
        BoardModel(Board("narrow", 7, 1, board_of(number, narrow=True).rules)),
        BoardModel(Board("whole", 8, 1, board_of(number, regions=False).rules)),
    ]
    await define_on(shard_map, [model.board for model in models])
    for user_id, region in HOMES.items():
        await any_api.register(user_id, region)
    chance = random.Random(number)
    for _ in range(90):
        await submit(any_api, chance, chance.choice(models))
    for model in models:
        board, order = model.board, model.order()
        for region in ("EU", "NA", GLOBAL) if board.rules.regions else (GLOBAL,):
            here = [user_id for user_id in order if region in (GLOBAL, HOMES[user_id])]
            rows = (await RedisBoards(shard_map).top(Place(board, ALL, region), 100, 0)).rows
            found = [(board.user_id_of(row.member), board.sign * row.key) for row in rows]
            assert found == [(user_id, model.standings[user_id].score) for user_id in here]
    assert await any_api.scores() == dict.fromkeys(PLAYERS, 0)  # main knows nothing of it
    await compare_with_events(any_api, models)


async def compare_with_events(api: Api, models: list[BoardModel]) -> None:
    """Whatever order events come in, and however often, they end in the entries that Redis has."""
    written: dict[str, list[Entry]] = {}
    for shard in api.services.shard_map.shards:
        for region in ("EU", "ASIA", "NA"):
            for raw in await shard.client.lrange(shard.keys.queue(region), 0, -1):
                event = decode(raw, region)
                assert isinstance(event, ScoreEvent)
                written.setdefault(event.user_id, []).extend(event.entries)
    chance = random.Random(1)
    metadata = {(model.board.id, one): model.standings[one].metadata for model in models for one in model.standings}
    for user_id, states in written.items():
        twice = [*states, *states]
        chance.shuffle(twice)
        shard = api.services.shard_map.shard_of(HOMES[user_id], user_id)
        kept = await shard.client.hgetall(shard.keys.entries(user_id))
        assert kept == {f"{one.board}.{one.board_id}:{one.window}": encode(one) for one in merge_all(twice)}
        for one in merge_all(twice):
            assert (json.loads(one.metadata) if one.metadata else None) == metadata[one.board_id, user_id]


async def board_on(api: Api, name: str = "kills", **rules: Any) -> Board:
    board = Board(name, 17, 1, Rules(**rules))
    await define_on(api.services.shard_map, [board])
    return board


async def test_whoever_has_no_card_gets_one_with_nothing_on_it(any_api: Api) -> None:
    await board_on(any_api, operator="best")
    score = {"user_id": "eve", "region": "EU", "score": 5, "board": "kills", "name": "Eve"}
    refused(await any_api.post("/score", score, token=any_api.player_token("eve", "EU")), 404, "user_not_found")
    answer = (await any_api.post("/score", score, token=any_api.server_token())).json()
    assert (answer["score"], answer["previous"], answer["improved"]) == (5, None, True)
    assert await any_api.scores("EU") == {"eve": 0}
    again = (await any_api.post("/score", {**score, "score": 4}, token=any_api.server_token())).json()
    assert (again["score"], again["previous"], again["improved"]) == (5, 5, False)
    assert again["updated_at"] == answer["updated_at"]


async def test_ranks_come_with_the_answer(any_api: Api) -> None:
    await board_on(any_api, operator="best", order="asc")
    for number, user_id in enumerate(("ann", "bob")):
        score = {"user_id": user_id, "region": "EU", "score": 9 - number, "board": "kills", "rank": True}
        answer = (await any_api.post("/score", score, token=any_api.server_token())).json()
        first = {"rank": 1, "position": 1, "total": number + 1}
        assert answer["ranks"] == {"EU": first, "GLOBAL": first}
    await define_on(any_api.services.shard_map, [Board("whole", 18, 1, Rules(regions=False))])
    answer = (await any_api.post("/score", {**score, "board": "whole"}, token=any_api.server_token())).json()
    assert answer["ranks"] == {"GLOBAL": {"rank": 1, "position": 1, "total": 1}}


async def test_a_score_that_changes_nothing_writes_no_event(api: Api, all_redis: redis.Redis) -> None:
    await board_on(api, operator="best")
    token = await api.register("ann", "EU")
    await api.post("/score", {"user_id": "ann", "region": "EU", "score": 5, "board": "kills"}, token=token)
    before = await dump(all_redis)
    for score in (5, 4, -5):
        response = await api.post("/score/update", {"score": score, "board": "kills"}, token=token)
        assert response.json()["score"] == 5
    after = await dump(all_redis)
    assert {key: value for key, value in after.items() if "bucket" not in key} == {
        key: value for key, value in before.items() if "bucket" not in key
    }


async def test_refusals_have_their_codes_and_change_nothing(api: Api, all_redis: redis.Redis) -> None:
    narrow = Rules(operator="sum", max_step=5, min_score=0, max_submits=1, metadata_bytes=8)
    closed, of_servers = Rules(open=False), Rules(submit="server")
    boards = {"narrow": narrow, "closed": closed, "servers": of_servers, "best": Rules(operator="best")}
    await define_on(
        api.services.shard_map, [Board(name, 30 + number, 1, one) for number, (name, one) in enumerate(boards.items())]
    )
    token, server = await api.register("ann", "EU"), api.server_token()
    item = {"user_id": "ann", "region": "EU", "score": 2}
    assert (await api.post("/score", {**item, "board": "narrow"}, token=token)).status_code == 200
    before = {key: value for key, value in (await dump(all_redis)).items() if "bucket" not in key}
    refused(await api.post("/score", {**item, "board": "narrow"}, token=token), 409, "no_submits_left")
    refused(await api.post("/score", {**item, "board": "narrow", "score": 6}, token=token), 422, "score_out_of_bounds")
    refused(await api.post("/score", {**item, "board": "narrow", "score": -3}, token=token), 422, "score_out_of_bounds")
    refused(await api.post("/score/update", {"score": 1, "board": "narrow"}, token=token), 422, "wrong_operator")
    refused(await api.post("/score/add", {"delta": 1, "board": "best"}, token=token), 422, "wrong_operator")
    refused(await api.post("/score", {**item, "board": "closed"}, token=server), 409, "board_closed")
    refused(await api.post("/score", {**item, "board": "servers"}, token=token), 403, "forbidden")
    refused(await api.post("/score", {**item, "board": "nowhere"}, token=token), 404, "board_not_found")
    refused(await api.post("/score", {**item, "board": "No!"}, token=token), 422, "invalid_payload")
    refused(await api.post("/score", {**item, "board": "best", "force": True}, token=token), 403, "forbidden")
    metadata: dict[str, Any] = {**item, "metadata": {"a": 1}}
    for board in ("main", "best"):
        refused(await api.post("/score", {**metadata, "board": board}, token=token), 422, "metadata_too_large")
    refused(await api.post("/score", {**metadata, "metadata": {"a": 10**30}}, token=token), 422, "invalid_payload")
    refused(await api.post("/score", {**metadata, "metadata": [1]}, token=token), 422, "invalid_payload")
    for number in ("NaN", '[0, {"b": -Infinity}]', "1e400"):  # none is JSON's, and a null would be kept
        whole = json.dumps({**metadata, "metadata": {"a": "here"}}).replace('"here"', number)
        found = await api.post_raw("/score", whole, token=token)
        refused(found, 422, "invalid_payload")
        assert [field["field"] for field in found.json()["fields"]] == ["metadata"]
        listed = await api.post_raw("/scores", f'{{"scores": [{whole}]}}', token=token)
        assert listed.json()["results"][0]["fields"] == found.json()["fields"]
    after = {key: value for key, value in (await dump(all_redis)).items() if "bucket" not in key}
    assert after == before
    forced = await api.post("/score", {**item, "board": "narrow", "score": -9, "force": True}, token=server)
    assert forced.json()["score"] == -9


async def test_what_a_token_may_submit_is_the_same_in_one_call_and_in_many(api: Api) -> None:
    own, item = await api.register("ann", "EU"), {"user_id": "ann", "region": "EU", "score": 2}
    refusals = {"user_id": ("bob", 403), "region": ("NA", 409), "force": (True, 403)}
    for field, (value, status) in refusals.items():
        one = await api.post("/score", {**item, field: value}, token=own)
        many = await api.post("/scores", {"scores": [{**item, field: value}]}, token=own)
        assert one.status_code == status
        without_ids = [{**body, "request_id": ""} for body in (one.json(), *many.json()["results"])]
        assert {**without_ids[0], "ok": False} == {**without_ids[1], "ok": False}
    bodies = ("/score", item), ("/scores", {"scores": [item]})
    answers = [await api.post(path, body, token=api.admin_token()) for path, body in bodies]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert len({answer.json()["message"] for answer in answers}) == 1


async def test_a_games_end_on_several_boards_is_one_call(any_api: Api) -> None:
    await define_on(
        any_api.services.shard_map,
        [Board("kills", 17, 1, Rules(operator="sum")), Board("laps", 18, 1, Rules(operator="best", order="asc"))],
    )
    token = await any_api.register("ann", "EU")
    item = {"user_id": "ann", "region": "EU"}
    scores = [
        {**item, "board": "kills", "delta": 3},
        {**item, "board": "laps", "score": 71},
        {**item, "score": 9},
        {**item, "board": "laps", "delta": 1},
        {**item, "board": "gone", "score": 1},
        {**item, "user_id": "bob", "score": 1},
    ]
    answers = [await any_api.post("/scores", {"scores": scores}, token=token, key="end") for _ in range(2)]
    assert answers[0].text == answers[1].text
    body = answers[0].json()
    assert [one.get("score") for one in body["results"]] == [3, 71, 9, None, None, None]
    refusals = [one.get("error") for one in body["results"]][3:]
    assert refusals == ["wrong_operator", "board_not_found", "forbidden"]
    assert await any_api.scores("EU") == {"ann": 9}
    refused(await any_api.post("/scores", {"scores": [scores[0]] * 9}, token=token), 422, "invalid_payload")


async def test_a_repeat_counts_once_also_when_its_answer_is_lost(any_api: Api) -> None:
    board = await board_on(any_api, operator="sum")
    token, shard_map = await any_api.register("ann", "EU"), any_api.services.shard_map
    shard = shard_map.shard_of("EU", "ann")

    async def add(key: str, delta: int = 3) -> httpx.Response:
        return await any_api.post("/score/add", {"delta": delta, "board": board.name}, token=token, key=key)

    first = (await add("one")).json()
    assert (await add("one")).json() == first
    await shard.client.delete(shard.keys.idempotency("ann", "one"))
    repeated = (await add("one")).json()
    assert repeated == {**first, "previous": None, "improved": None}
    refused(await add("one", 4), 422, "idempotency_key_reused")
    assert (await add("two")).json()["score"] == 6


async def test_a_paused_service_goes_by_the_rules_that_stand(any_api: Api) -> None:
    """Each shard is asked again where it has another definition; a board made anew is another one."""
    board = await board_on(any_api, operator="latest")
    token, shard_map = await any_api.register("ann", "EU"), any_api.services.shard_map
    assert (await any_api.post("/score/update", {"score": 1, "board": "kills"}, token=token)).status_code == 200
    await define_on(shard_map, [Board("kills", 17, 2, Rules(operator="latest", max_score=5))])
    refused(
        await any_api.post("/score/update", {"score": 6, "board": "kills"}, token=token), 422, "score_out_of_bounds"
    )
    item = {"user_id": "ann", "region": "EU", "board": "kills", "score": 6}
    await define_on(shard_map, [Board("kills", 17, 3, Rules(operator="latest", max_score=4))])
    refused_item = (await any_api.post("/scores", {"scores": [item]}, token=token)).json()["results"][0]
    assert (refused_item["error"], refused_item["max"]) == ("score_out_of_bounds", 4)
    await define_on(shard_map, [Board("kills", 18, 1, Rules(operator="sum", order="asc"))])
    refused(await any_api.post("/score/update", {"score": 6, "board": "kills"}, token=token), 422, "wrong_operator")
    batch = (await any_api.post("/scores", {"scores": [{**item, "score": 7}]}, token=token)).json()
    assert (batch["results"][0]["score"], batch["results"][0]["previous"]) == (7, None)
    rows = (await RedisBoards(shard_map).top(Place(Board("kills", 18, 1, Rules()), ALL, "EU"), 9, 0)).rows
    assert [(row.member, row.key) for row in rows] == [("ann", -7)]
    assert board.id == 17


async def test_sums_of_many_writers_lose_nothing(start: Start) -> None:
    api = await start(USER_RATE_LIMIT_COUNT=1000)
    await board_on(api, operator="sum", max_submits=60)
    token = await api.register("ann", "EU")
    bodies = [{"delta": 1, "board": "kills"}] * 80
    answers = await asyncio.gather(*(api.post("/score/add", body, token=token) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] * 60 + [409] * 20
    assert max(answer.json().get("score", 0) for answer in answers) == 60


async def test_the_largest_scores_are_exact(any_api: Api) -> None:
    await board_on(any_api, operator="sum", order="asc", ties="earliest")
    token = await any_api.register("ann", "EU")

    async def add(delta: int) -> httpx.Response:
        return await any_api.post("/score/add", {"delta": delta, "board": "kills"}, token=token)

    assert (await add(MAX_EXACT_INTEGER)).json()["score"] == MAX_EXACT_INTEGER
    refused(await add(1), 422, "score_out_of_range")
    assert (await add(-MAX_EXACT_INTEGER)).json()["score"] == 0
    assert (await add(-MAX_EXACT_INTEGER)).json()["score"] == -MAX_EXACT_INTEGER


async def test_a_deletion_takes_the_entries_and_a_return_begins_anew(any_api: Api) -> None:
    await board_on(any_api, operator="sum", ties="earliest")
    await any_api.register("ann", "EU")
    score = {"user_id": "ann", "region": "EU", "score": 5, "board": "kills"}
    assert (await any_api.post("/score", score, token=any_api.server_token())).json()["score"] == 5
    assert (await any_api.delete("ann")).status_code == 200
    shard = any_api.services.shard_map.shard_of("EU", "ann")
    assert await entries_in(shard.client) == {}
    answer = (await any_api.post("/score", score, token=any_api.server_token())).json()
    assert (answer["score"], answer["previous"]) == (5, None)
    (text,) = (await shard.client.hgetall(shard.keys.entries("ann"))).values()
    since = await shard.client.hget(shard.keys.user("ann"), "since")
    assert str(text).split(" ")[4] == since


async def test_a_clock_that_stepped_back_puts_no_write_before_another(any_api: Api) -> None:
    """Writes to the card and to entries share one clock, which the hash keeps."""
    await board_on(any_api, operator="sum")
    await any_api.register("ann", "EU")
    shard = any_api.services.shard_map.shard_of("EU", "ann")
    seconds, micros = await shard.client.time()
    ahead = (seconds + 3600) * 1_000_000 + micros
    await shard.client.hset(shard.keys.user("ann"), "clock", ahead)
    score = {"user_id": "ann", "region": "EU", "score": 1}
    for n, board in enumerate(("kills", "kills", "main", "kills"), 1):
        answer = (await any_api.post("/score", {**score, "board": board}, token=any_api.server_token())).json()
        assert answer["updated_at"] == ahead + n
    assert (await remove(any_api, "kills", "ann")).json()["removed"]
    assert (await any_api.post("/score", score, token=any_api.server_token())).json()["updated_at"] == ahead + 6


async def remove(api: Api, board: str, user_id: str, token: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token or api.server_token()}"}
    return await api.http.delete(f"/boards/{board}/entries/{user_id}", headers=headers)


@pytest.mark.parametrize(("operator", "ties"), list(product(OPERATORS, TIES)))
async def test_an_entry_is_taken_off_and_made_anew(any_api: Api, operator: Operator, ties: Ties) -> None:
    board = await board_on(any_api, operator=operator, ties=ties)
    await any_api.register("ann", "EU")
    shard_map = any_api.services.shard_map

    async def submitted(score: int) -> dict[str, Any]:
        body = {"user_id": "ann", "region": "EU", "score": score, "board": "kills"}
        answer: dict[str, Any] = (await any_api.post("/score", body, token=any_api.server_token())).json()
        return answer

    assert (await remove(any_api, "kills", "ann")).json() == {
        "ok": True,
        "board": "kills",
        "user_id": "ann",
        "removed": False,
    }
    await submitted(9)
    for token, removed in ((any_api.admin_token(), True), (None, False)):
        assert (await remove(any_api, "kills", "ann", token)).json()["removed"] is removed
    for region in ("EU", GLOBAL):
        assert (await RedisBoards(shard_map).top(Place(board, ALL, region), 9, 0)).rows == []
    answer = await submitted(4)
    assert (answer["score"], answer["previous"], answer["improved"]) == (4, None, True)
    model = BoardModel(board)
    model.submit("ann", 4)
    await compare_with_events(any_api, [model])
    assert await any_api.scores("EU") == {"ann": 0}


async def test_who_may_take_which_entries_off(api: Api) -> None:
    await board_on(api)
    own = await api.register("ann", "EU")
    refused(await remove(api, "kills", "ann", own), 403, "forbidden")
    refused(await remove(api, "main", "ann"), 409, "main_board")
    refused(await remove(api, "laps", "ann"), 404, "board_not_found")
    refused(await remove(api, "kills", "bob"), 404, "user_not_found")
    refused(await remove(api, "Kills", "ann"), 422, "invalid_payload")


async def test_a_later_creation_takes_the_place_of_another_with_that_version(any_api: Api) -> None:
    """Also on a Redis that was away when the one before was deleted."""
    boards = Board("kills", 3, 1, Rules()), Board("kills", 4, 1, Rules(order="asc"))
    for board in boards:
        for shard in any_api.services.shard_map.shards:
            (there,) = await restore_definitions(shard, [Definition(board)])
            assert there.state == f"{board.id} 1"
            found = await read_definition(shard, "kills")
            assert found is not None
            assert found.board.rules == board.rules


async def test_what_is_answered_counts_while_a_board_is_made_anew(any_api: Api) -> None:
    """A batch that began before goes to no board, and says so; what it was told is taken counts on that board."""
    assert (await any_api.define({}, "kills")).status_code == 201
    before = await any_api.services.known_boards.board("kills")
    token, headers = any_api.server_token(), {"Authorization": f"Bearer {any_api.admin_token()}"}
    item = {"board": "kills", "region": "EU", "score": 5}
    batches = [
        asyncio.create_task(
            any_api.post("/scores", {"scores": [{**item, "user_id": f"p{n}-{i}"} for i in range(1000)]}, token=token)
        )
        for n in range(3)
    ]
    await asyncio.sleep(0.02)
    assert (await any_api.http.delete("/boards/kills", headers=headers)).status_code == 200
    assert (await any_api.define({}, "kills")).status_code == 201
    place = Place(before, ALL, GLOBAL)
    sets = [(shard, shard.keys.place(place)) for shard in any_api.services.shard_map.shards]
    old = [await shard.client.zcard(name) for shard, name in sets]
    results = [result for batch in batches for result in (await batch).json()["results"]]
    assert {result.get("error", "ok") for result in results} <= {"ok", "board_not_found", "unavailable"}
    assert [await shard.client.zcard(name) for shard, name in sets] == old
    total = (await any_api.get("/top", board="kills")).json()["total"]
    assert sum(result["ok"] for result in results) == sum(old) + total


async def test_an_entry_of_a_board_that_was_made_anew_is_taken_off(any_api: Api) -> None:
    board = await board_on(any_api)
    await any_api.register("ann", "EU")
    score = {"user_id": "ann", "region": "EU", "score": 5, "board": "kills"}
    for number in (17, 18):
        await define_on(any_api.services.shard_map, [Board("kills", number, 1, board.rules)])
        assert (await any_api.post("/score", score, token=any_api.server_token())).json()["previous"] is None
        known = any_api.services.known_boards
        shard = any_api.services.shard_map.shard_of("EU", "ann")
        # Whoever still has the board of before is told that it is another one.
        assert known.heeded(shard, board).board.id == 17
    assert (await remove(any_api, "kills", "ann")).json()["removed"]
