"""Test every call of both Python clients against the real service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest

import leaderboard_client as client
from leaderboard_core.settings import MAX_EXACT_INTEGER
from tests.conftest import Start
from tests.support.callers import Caller, Kind, calling
from tests.support.service import Api

STRANGE_IDS = ["%41", "a?b=c&d", "a#b", "...", "a;b+c", "😀", "مَاهِر", "a\\b", "%2F", "\"'<x>", "ö" * 128]


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
async def call(kind: Kind, api: Api) -> AsyncIterator[Caller]:
    async with calling(kind, str(api.http.base_url)) as caller:
        yield caller


@pytest.fixture
async def server(kind: Kind, api: Api) -> AsyncIterator[Caller]:
    async with calling(kind, str(api.http.base_url), token=api.server_token()) as caller:
        yield caller


async def test_a_players_way(call: Caller) -> None:
    registered = await call("register", "ada", "Ada", "eu", 5)
    assert registered.user == client.Player("ada", "Ada", "EU", 5)
    assert call.client.user_id == "ada"
    written = await call("add", 10)
    assert (written.user_id, written.region, written.score) == ("ada", "EU", 15)
    assert (await call("update", 7)).score == 7
    assert (await call("submit", "ada", "EU", 8, name="Countess")).updated_at > written.updated_at
    created = await call("create", "EU", 99)
    assert created == client.Created(False, client.Player("ada", "Countess", "EU", 8))
    rank = await call("rank")
    assert (rank.rank, rank.total, rank.score, rank.source) == (1, 1, 8, "redis")
    assert await call("login", "ada", "Countess", "EU") == call.client.token
    top = await call("top", "EU", limit=1)
    assert top.rows == (client.Row(1, 1, "ada", "Countess", "EU", 8),)
    assert (await call("health")).ok
    assert "http_requests" in await call("metrics")


async def test_who_has_a_password_enters_whether_it_is_new_or_not(call: Caller) -> None:
    password = "correct horse battery"
    first = await call("login_or_register", "ada", "Ada", "eu", 5, password=password)
    assert first == client.Entered(first.token, client.Player("ada", "Ada", "EU", 5), registered=True)
    assert (call.client.user_id, call.client.token) == ("ada", first.token)
    await call("add", 10)
    again = await call("login_or_register", "ada", "Another Ada", "NA", 99, password=password)
    assert (again.user, again.registered) == (client.Player("ada", "Ada", "EU", 15), False)
    assert call.client.token == again.token
    await call("add", 1)
    with pytest.raises(client.Unauthorized, match="invalid_credentials"):
        await call("login_or_register", "ada", "Ada", "EU", password="another horse battery")
    assert call.client.token == again.token


async def test_who_keeps_the_secret_of_the_first_time_enters_with_it(call: Caller) -> None:
    first = await call("login_or_register", "ada", "Ada", "EU", 5)
    assert first.registered
    again = await call("login_or_register", "ada", "Ada", "EU", secret=first.secret)
    assert (again.user.score, again.registered, again.secret) == (5, False, None)
    with pytest.raises(client.Conflict, match="the secret that its registration answered") as taken:
        await call("login_or_register", "ada", "Ada", "EU")
    assert (taken.value.code, taken.value.status) == ("user_exists", 409)
    with pytest.raises(client.Unauthorized):
        await call("login_or_register", "ada", "Ada", "EU", secret="0" * 32)
    with pytest.raises(client.NotFound):
        await call("login_or_register", "bob", "Bob", "EU", secret=first.secret)
    with pytest.raises(client.InvalidRequest, match="not both"):
        await call("login_or_register", "ada", "Ada", "EU", secret=first.secret, password="correct horse battery")


async def test_a_player_enters_with_its_password_where_registration_is_closed(start: Start, kind: Kind) -> None:
    api = await start(REGISTRATION="closed")
    async with calling(kind, str(api.http.base_url), token=api.server_token()) as server:
        await server("submit", "ada", "EU", 5)
        await server("set_password", "correct horse battery", "ada")
        entered = await server("login_or_register", "ada", "Ada", "EU", password="correct horse battery")
        assert (entered.user.score, entered.registered) == (5, False)
        with pytest.raises(client.Forbidden, match="REGISTRATION=closed"):
            await server("login_or_register", "bob", "Bob", "EU", password="correct horse battery")


async def test_scores_are_whole_to_the_last_digit(call: Caller) -> None:
    await call("register", "ada", "Ada", "EU", MAX_EXACT_INTEGER)
    assert (await call("rank")).score == MAX_EXACT_INTEGER
    with pytest.raises(client.InvalidRequest) as caught:
        await call("add", 1)
    assert caught.value.code == "score_out_of_range"
    assert (await call("update", -MAX_EXACT_INTEGER)).score == -MAX_EXACT_INTEGER


async def test_neighbours(call: Caller, server: Caller) -> None:
    scores = {"a": 50, "b": 50, "c": 30, "d": 10}
    await server("submit_many", [client.Submission(u, "EU", score=s) for u, s in scores.items()])
    found = await call("around", "c", reach=1)
    assert found.own == client.Row(3, 3, "c", "c", "EU", 30)
    assert [(row.rank, row.user_id) for row in found.around] == [(1, "a"), (4, "d")]


@pytest.mark.parametrize("user_id", STRANGE_IDS)
async def test_any_user_id_reaches_its_player(server: Caller, user_id: str) -> None:
    name = f"Name of {user_id}"
    await server("submit", user_id, "ASIA", 3, name=name)
    rank = await server("rank", user_id)
    assert (rank.user_id, rank.name) == (user_id, name)
    assert (await server("around", user_id)).own.user_id == user_id


@pytest.mark.parametrize("user_id", ["with space", "line\nbreak", "u" * 129, "\x7f"])
async def test_what_is_no_user_id_is_the_systems_to_refuse(call: Caller, user_id: str) -> None:
    with pytest.raises(client.InvalidRequest) as caught:
        await call("rank", user_id)
    assert (caught.value.status, caught.value.code) == (422, "invalid_payload")
    assert caught.value.details["fields"][0]["field"] == "user_id"


async def test_a_batch(server: Caller) -> None:
    batch = await server(
        "submit_many",
        [
            client.Submission("ada", "EU", score=10, name="Ada"),
            client.Submission("ada", "EU", delta=-3),
            {"user_id": "bob", "region": "EU", "score": "5"},
            client.Submission("ada", "NA", score=1),
        ],
    )
    assert (batch.ok, batch.accepted) == (False, 2)
    first, second, third, fourth = batch.results
    assert (first.score, second.score) == (10, 7)
    assert (third.code, third.details["fields"][0]["field"]) == ("invalid_payload", "score")
    assert (fourth.code, fourth.details["region"]) == ("region_mismatch", "EU")


@pytest.fixture
async def field(server: Caller) -> dict[str, int]:
    """Create 25 players of EU, some with equal scores, in no order."""
    scores = {f"p-{number:02}": number * 7 % 10 for number in range(25)}
    await server("submit_many", [client.Submission(u, "EU", score=s) for u, s in scores.items()])
    return scores


def in_board_order(scores: dict[str, int]) -> list[tuple[int, str, int]]:
    """Rank (user_id, score) pairs in board order."""
    order = sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)
    return [(1 + sum(other > score for other in scores.values()), user_id, score) for user_id, score in order]


def shown(rows: Iterable[client.Row]) -> list[tuple[int, str, int]]:
    return [(row.rank, row.user_id, row.score) for row in rows]


async def test_a_whole_board_page_by_page(server: Caller, field: dict[str, int]) -> None:
    board = in_board_order(field)
    for size in (1, 7, 25, 1000):
        assert shown([row async for row in server.iterate("iter_top", "EU", page_size=size)]) == board
    first = await server("top", "EU", limit=10)
    second = await server("top", "EU", limit=10, cursor=first.next_cursor)
    last = await server("top", "EU", limit=10, offset=20)
    assert shown([*first.rows, *second.rows, *last.rows]) == board
    assert (first.total, last.next_cursor) == (25, None)
    assert [row async for row in server.iterate("iter_top", "NA")] == []


async def test_a_part_of_a_board_by_score_or_rank(server: Caller, field: dict[str, int]) -> None:
    board = in_board_order(field)
    by_score = [row for row in board if 3 <= row[2] <= 6]
    assert shown((await server("range_by_score", 3, 6, region="EU")).rows) == by_score
    walked = server.iterate("iter_range_by_score", 3, 6, region="EU", page_size=2)
    assert shown([row async for row in walked]) == by_score
    assert shown((await server("range_by_score", maximum=0)).rows) == [row for row in board if row[2] <= 0]
    by_rank = [row for row in board if 4 <= row[0] <= 11]
    assert shown((await server("range_by_rank", 4, 11)).rows) == by_rank
    assert shown([row async for row in server.iterate("iter_range_by_rank", 4, 11, page_size=3)]) == by_rank
    with pytest.raises(client.InvalidRequest):
        await server("range_by_score")


async def test_friends_among_themselves(server: Caller, field: dict[str, int]) -> None:
    friends = ["p-01", "p-11", "nobody", "p-02", "p-01"]
    found = await server("ranks", friends, region="eu")
    ranks = {user_id: rank for rank, user_id, _ in in_board_order(field)}
    assert (found.region, found.total, found.unknown) == ("EU", 25, ("nobody",))
    assert [(row.place, row.rank, row.user_id) for row in found.rows] == [
        (1, ranks["p-11"], "p-11"),
        (1, ranks["p-01"], "p-01"),
        (3, ranks["p-02"], "p-02"),
    ]
    one = await server("rank", "p-02", region="EU")
    assert one.percentile == found.rows[2].percentile == round(100 * (25 - one.rank) / 24, 4)


async def test_all_that_is_kept_of_a_player_and_its_end(call: Caller, server: Caller) -> None:
    registered = await call("register", "ada", "Ada", "EU", 7, password="correct horse")
    export = await call("export_user", "ada")
    assert (export.user.name, export.user.score, export.user.protected) == ("Ada", 7, True)
    assert export.ranks == {board: client.BoardRank(1, 1, 100.0) for board in ("EU", "GLOBAL")}
    assert export.account.created_at <= export.user.updated_at
    assert export.saved is None, "no worker runs in this test"
    assert (await server("export_user", "ada")).user == export.user
    await server("submit", "bob", "EU", 1)
    assert (await server("export_user", "bob")).account is None
    for name in ("export_user", "delete_user"):
        with pytest.raises(client.Forbidden):
            await call(name, "bob")
        with pytest.raises(client.NotFound):
            await server(name, "nobody")
    deleted = await call("delete_user", "ada")
    assert deleted.user_id == "ada"
    assert deleted.deleted_at > export.user.updated_at
    with pytest.raises(client.NotFound):
        await call("rank", "ada")
    with pytest.raises(client.Unauthorized, match="invalid_token"):
        await call("add", 1)
    assert registered.token == call.client.token
    assert (await call("register", "ada", "Another Ada", "NA")).user.score == 0


async def test_the_state_of_the_system(call: Caller) -> None:
    await call("register", "ada", "Ada", "EU")
    status = await call("status")
    assert status.reads == "redis"
    queues = {queue.region: queue for queue in status.queues}
    assert queues.keys() == {"ASIA", "EU", "NA", "GLOBAL"}
    assert (queues["EU"].waiting, queues["EU"].dead) == (1, 0)
    assert status.details["ok"] is status.ok is False, "no worker is alive in this test"


async def test_each_family_of_errors(call: Caller, api: Api) -> None:
    with pytest.raises(client.Unauthorized) as unauthorized:
        await call("add", 1)
    assert (unauthorized.value.code, unauthorized.value.status) == ("missing_token", 401)
    await call("register", "ada", "Ada", "EU", password="correct horse")
    with pytest.raises(client.Conflict) as conflict:
        await call("register", "ada", "Eve", "EU")
    assert conflict.value.code == "user_exists"
    with pytest.raises(client.Unauthorized, match="invalid_credentials"):
        await call("login", "ada", "Ada", password="wrong horse")
    with pytest.raises(client.Forbidden):
        await call("submit", "bob", "EU", 1)
    with pytest.raises(client.Conflict) as mismatch:
        await call("create", "NA")
    assert mismatch.value.details == {"region": "EU"}
    with pytest.raises(client.NotFound) as missing:
        await call("rank", "nobody")
    assert missing.value.code == "user_not_found"
    with pytest.raises(client.InvalidRequest) as unknown:
        await call("top", "MOON")
    assert unknown.value.details["regions"] == ["ASIA", "EU", "NA", "GLOBAL"]
    with pytest.raises(client.InvalidRequest) as key:
        await call("add", 1, key="schlüssel")
    assert key.value.details["fields"][0]["field"] == "Idempotency-Key"
    call.client.token = "no.token.at-all"
    with pytest.raises(client.Unauthorized, match="invalid_token"):
        await call("add", 1)


async def test_an_error_carries_the_id_that_the_logs_have(call: Caller, api: Api) -> None:
    with pytest.raises(client.NotFound) as missing:
        await call("rank", "nobody")
    assert missing.value.request_id
    assert missing.value.request_id in str(missing.value)


async def test_a_key_of_ones_own_counts_once_over_many_calls(call: Caller) -> None:
    await call("register", "ada", "Ada", "EU")
    answers = [await call("add", 5, key="match-17") for _ in range(3)]
    assert {answer.score for answer in answers} == {5}
    with pytest.raises(client.InvalidRequest, match="idempotency_key_reused"):
        await call("add", 6, key="match-17")


async def test_a_batch_gets_through_a_narrow_region(start: Start, kind: Kind) -> None:
    api = await start(REGION_RATE_LIMIT_PER_SEC=20)
    players = [client.Submission(f"p-{number}", "EU", delta=1) for number in range(50)]
    async with calling(kind, str(api.http.base_url), token=api.server_token()) as server:
        batch = await server("submit_many", players)
    assert batch.ok
    assert set((await api.scores()).values()) == {1}
    assert len(await api.scores()) == 50
