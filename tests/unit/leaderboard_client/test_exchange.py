"""Test how a call is built, interpreted, retried and given up, without I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import leaderboard_client as client
from leaderboard_client.calls import Call, next_page, segment
from leaderboard_client.errors import LeaderboardError, family_of
from leaderboard_client.exchange import exchange
from leaderboard_client.retrying import RetryPolicy, retry_after_of
from leaderboard_client.steps import Answer, Failure, Outcome, Request, Send, Steps, Wait
from leaderboard_client.transport import Api
from leaderboard_core.errors import all_errors

T = TypeVar("T")
BASE = "http://board"
WRITTEN = {"ok": True, "user_id": "ada", "region": "EU", "score": 10, "updated_at": 5, "new_field": 1}
CUT = Failure(ConnectionResetError("reset"))
REFUSED = Failure(ConnectionRefusedError("refused"), maybe_done=False)
BROKEN = Failure(ValueError("header"), hopeless=True)


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode())


def refusal(status: int, code: str = "x", **more: Any) -> Answer:
    return answer({"error": code, "message": "do this", **more}, status, x_request_id="r-1")


class Played:
    """Run a call against given outcomes; time passes only in its waits."""

    def __init__(self, call: Call[Any], *outcomes: Outcome, max_wait: float = 30.0) -> None:
        self.now = 0.0
        self.sent: list[Request] = []
        self.timeouts: list[float] = []
        self.waits: list[float] = []
        policy = RetryPolicy(timeout=10, max_wait=max_wait, chance=lambda: 0.5)
        self._steps: Steps[Any] = exchange(call, BASE, policy, lambda: self.now)
        self._outcomes = list(outcomes)

    def result(self) -> Any:
        outcome: Outcome = None
        while True:
            try:
                step = self._steps.send(outcome)
            except StopIteration as end:
                assert not self._outcomes, "outcomes are left over"
                return end.value
            if isinstance(step, Send):
                self.sent.append(step.request)
                self.timeouts.append(step.timeout)
                outcome = self._outcomes.pop(0)
            else:
                assert isinstance(step, Wait)
                self.waits.append(step.seconds)
                self.now += step.seconds
                outcome = None

    def error(self) -> LeaderboardError:
        with pytest.raises(LeaderboardError) as caught:
            self.result()
        assert not self._outcomes, "outcomes are left over"
        return caught.value


def test_a_write_carries_the_token_and_one_key_through_all_its_attempts() -> None:
    played = Played(Api("t-1").add(10), CUT, refusal(503), refusal(502), REFUSED, refusal(504), answer(WRITTEN))
    assert played.result() == client.Written("ada", "EU", 10, 5)
    first = played.sent[0]
    assert first.method == "POST"
    assert first.url == "http://board/score/add"
    assert first.headers["authorization"] == "Bearer t-1"
    assert json.loads(first.content) == {"delta": 10}
    assert len(first.headers["idempotency-key"]) >= 16
    assert played.sent == [first] * 6


def test_each_call_has_a_key_of_its_own_unless_one_is_given() -> None:
    api = Api("t")
    keys = {api.add(1).key, api.add(1).key, api.update(1).key, api.submit_many([]).key, api.delete_user("a").key}
    assert len(keys) == 5
    assert api.add(1, key="match-17").key == "match-17"
    assert api.add(1, key="").key == ""


def test_a_registration_with_a_password_whose_answer_was_lost_ends_in_a_login() -> None:
    api = Api()
    unknown, taken = refusal(404, "user_not_found"), refusal(409, "user_exists")
    player = client.Player("ada", "Ada", "EU", 0)
    entered = answer({"token": "t-1", "user": asdict(player)})
    call = api.login_or_register("ada", "Ada", "EU", password="correct horse battery")
    played = Played(call, unknown, CUT, taken, entered)
    assert played.result() == client.Entered("t-1", player, registered=False)
    paths = [urlsplit(request.url).path for request in played.sent]
    assert paths == ["/auth/login", "/auth/register", "/auth/register", "/auth/login"]
    assert (api.token, api.user_id) == ("t-1", "ada")
    # Deleted between two calls: an error, no endless round.
    assert Played(call, unknown, taken, unknown).error().code == "user_not_found"


def test_the_calls_made_instead_of_another_share_its_time() -> None:
    call = Api().login_or_register("ada", "Ada", "EU", password="correct horse battery")
    busy = refusal(429, "rate_limited", retry_after=12)
    played = Played(call, busy, refusal(404, "user_not_found"), busy, busy)
    assert played.error().code == "rate_limited"
    assert played.now <= 30


def test_a_registration_without_a_password_is_not_repeated_when_its_answer_was_lost() -> None:
    played = Played(Api().login_or_register("ada", "Ada", "EU"), CUT)
    assert isinstance(played.error(), client.ConnectionFailed)


def test_a_429_waits_as_long_as_it_says() -> None:
    played = Played(Api("t").add(1), refusal(429, "rate_limited", retry_after=2.5), answer(WRITTEN))
    played.result()
    assert len(played.waits) == 1
    assert 2.5 <= played.waits[0] < 3
    played = Played(Api("t").add(1), answer({}, 429, retry_after="3"), answer(WRITTEN))
    played.result()
    assert 3 <= played.waits[0] < 3.5


def test_a_429_that_asks_for_more_than_the_time_left_is_raised_at_once() -> None:
    played = Played(Api("t").add(1), refusal(429, "queue_full", retry_after=60, queue_length=7))
    error = played.error()
    assert isinstance(error, client.RateLimited)
    assert (error.code, error.status, error.retry_after) == ("queue_full", 429, 60)
    assert (error.request_id, error.details["queue_length"]) == ("r-1", 7)
    assert played.waits == []


def test_without_time_to_wait_nothing_is_repeated() -> None:
    assert isinstance(Played(Api("t").add(1), refusal(503), max_wait=0).error(), client.Unavailable)
    assert isinstance(Played(Api("t").add(1), CUT, max_wait=0).error(), client.ConnectionFailed)


def test_pauses_grow_and_the_call_ends_in_time() -> None:
    played = Played(Api("t").top(), *[refusal(503, "warming_up")] * 13)
    error = played.error()
    assert error.code == "warming_up"
    assert "13 attempts" in error.__notes__[0]
    assert played.waits == sorted(played.waits)
    assert played.waits[0] < 0.1 < 3 < played.waits[-1] <= 5
    assert played.now <= 30
    assert played.timeouts[0] == 10
    assert played.timeouts[-1] == pytest.approx(30 - played.now)


@given(st.integers(0, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e6))
def test_a_pause_is_bounded_and_never_shorter_than_asked(attempt: int, chance: float, asked: float | None) -> None:
    pause = RetryPolicy(chance=lambda: chance).pause(attempt, asked)
    assert (asked or 0) <= pause <= (asked or 0) + 5
    assert asked is not None or pause >= 0.05


@pytest.mark.parametrize(
    ("build", "outcome", "attempts"),
    [
        (lambda api: api.register("a", "A", "EU"), REFUSED, 2),
        (lambda api: api.register("a", "A", "EU"), refusal(429, retry_after=1), 2),
        (lambda api: api.register("a", "A", "EU"), CUT, 1),
        (lambda api: api.register("a", "A", "EU"), refusal(503), 1),
        (lambda api: api.login("a", "A"), CUT, 2),
        (lambda api: api.update(1), CUT, 2),
        (lambda api: api.update(1), BROKEN, 1),
        (lambda api: api.update(1), refusal(500), 1),
        (lambda api: api.update(1), refusal(422), 1),
        (lambda api: api.update(1), refusal(409), 1),
        (lambda api: api.rank("a"), CUT, 2),
        (lambda api: api.rank("a"), refusal(404), 1),
        (lambda api: api.ranks(["a"]), CUT, 2),
        (lambda api: api.delete_user("a"), CUT, 2),
    ],
)
def test_what_is_repeated(build: Callable[[Api], Call[Any]], outcome: Outcome, attempts: int) -> None:
    last = refusal(400)
    played = Played(build(Api("t")), *[outcome] * (attempts - 1), last if attempts > 1 else outcome)
    played.error()
    assert len(played.sent) == attempts


def test_a_failed_connection_says_whether_the_write_may_have_counted() -> None:
    error = Played(Api("t").register("a", "A", "EU"), CUT).error()
    assert isinstance(error, client.ConnectionFailed)
    assert (error.maybe_done, error.status, error.code) == (True, None, "connection_failed")
    assert error.__cause__ is CUT.error
    assert error.request_id
    timed_out = Failure(TimeoutError(), timed_out=True)
    error = Played(Api("t").register("a", "A", "EU"), timed_out).error()
    assert (error.code, error.message) == ("timed_out", "TimeoutError")
    error = Played(Api("t").add(1), REFUSED, max_wait=0).error()
    assert isinstance(error, client.ConnectionFailed)
    assert not error.maybe_done


def test_a_deletion_is_repeated_under_its_key() -> None:
    played = Played(Api("t").delete_user("a"), CUT, answer({"ok": True, "user_id": "a", "deleted_at": 7}))
    assert played.result() == client.Deleted("a", 7)
    assert played.sent[0] == played.sent[1]
    assert played.sent[0].method == "DELETE"
    assert played.sent[0].headers["idempotency-key"]
    assert played.sent[0].content == b""
    assert isinstance(Played(Api("t").delete_user("a"), refusal(404, "user_not_found")).error(), client.NotFound)


def test_register_and_login_are_remembered() -> None:
    api = Api()
    with pytest.raises(client.Unauthorized, match="nobody"):
        api.rank()
    user = {"user_id": "ada", "name": "Ada", "region": "EU", "score": 0}
    registered = Played(api.register("ada", "Ada", "EU"), answer({"ok": True, "token": "t-1", "user": user}, 201))
    assert registered.result() == client.Registered("t-1", client.Player("ada", "Ada", "EU", 0))
    assert (api.token, api.user_id, api.rank().path) == ("t-1", "ada", "/rank/ada")
    assert api.add(1).token == "t-1"
    assert Played(api.login("bob", "Bob"), answer({"token": "t-2"})).result() == "t-2"
    assert (api.token, api.user_id) == ("t-2", "bob")
    Played(api.login("eve", "Eve"), refusal(401, "invalid_credentials")).error()
    assert (api.token, api.user_id) == ("t-2", "bob")


def test_optional_fields_are_left_out() -> None:
    api = Api()
    assert api.register("a", "A", "EU", 5).body == {"user_id": "a", "name": "A", "region": "EU", "initialScore": 5}
    assert api.login("a", "A", "EU", password="p").body == {
        "user_id": "a",
        "name": "A",
        "region": "EU",
        "password": "p",
    }
    submissions: list[client.Submission | dict[str, Any]] = [
        client.Submission("a", "EU", delta=0),
        {"user_id": "b", "region": "NA", "score": 1},
    ]
    assert api.submit_many(submissions).body == {
        "scores": [{"user_id": "a", "region": "EU", "delta": 0}, {"user_id": "b", "region": "NA", "score": 1}]
    }
    url = api.range_by_score(0, region="EU").request(BASE, "r").url
    assert url == "http://board/range?region=EU&min=0&limit=100"
    assert api.range_by_rank(1, 5).request(BASE, "r").url == "http://board/range?region=GLOBAL&from=1&to=5&limit=100"


@pytest.mark.parametrize("user_id", ["%41", "a?b=c", "a#b", "..", ".", "a;b", "a+b&c", "😀", "مَاهِر", "a\\b", "%2F"])
def test_a_user_id_is_one_segment_of_the_path(user_id: str) -> None:
    url = Api().rank(user_id).request(BASE, "r").url
    parts = urlsplit(url)
    assert parts.path.isascii()
    assert parts.query == "region=GLOBAL"
    folder, _, last = parts.path.rpartition("/")
    assert (folder, unquote(last)) == ("/rank", user_id)
    assert last not in (".", "..")


@pytest.mark.parametrize("user_id", ["", "a/b", "/"])
def test_a_user_id_that_no_path_can_hold_is_refused_here(user_id: str) -> None:
    with pytest.raises(client.InvalidRequest, match="invalid_payload"):
        segment(user_id)


def test_the_next_page_is_asked_by_cursor() -> None:
    call = Api().top("EU", limit=5, offset=10)
    page = client.Page("EU", 20, (), "c-1", "redis")
    following = next_page(call, page)
    assert following is not None
    assert following.request(BASE, "r").url == "http://board/top?region=EU&limit=5&cursor=c-1"
    assert next_page(call, client.Page("EU", 20, (), None, "redis")) is None


def batch(*results: object) -> Answer:
    return answer({"ok": False, "accepted": 1, "results": results})


TAKEN = WRITTEN
LATER = {"ok": False, "error": "region_rate_limited", "message": "wait", "retry_after": 0.5}
NEVER = {"ok": False, "error": "invalid_payload", "message": "no", "fields": []}


def test_what_of_a_batch_passes_by_itself_is_sent_again_under_its_key() -> None:
    items = [{"user_id": "ada", "region": "EU", "score": 10}, {"user_id": "bob", "region": "EU", "score": 1}]
    played = Played(Api("t").submit_many(items), batch(LATER, NEVER), batch(TAKEN, NEVER))
    result = played.result()
    assert result.results == (
        client.Written("ada", "EU", 10, 5),
        client.Refusal("invalid_payload", "no", None, {"fields": []}),
    )
    assert played.sent[0] == played.sent[1]
    assert 0.5 <= played.waits[0] < 1


def test_a_batch_is_not_sent_again_where_that_would_turn_scores_round() -> None:
    items = [{"user_id": "ada", "region": "EU", "score": score} for score in (10, 20)]
    assert Played(Api("t").submit_many(items), batch(LATER, TAKEN)).result().results[0].code == "region_rate_limited"
    assert Played(Api("t").submit_many(items), batch(TAKEN, LATER), batch(TAKEN, TAKEN)).result().accepted == 1


def test_a_batch_whose_time_is_over_is_given_as_it_stands() -> None:
    played = Played(Api("t").submit_many([{"user_id": "ada"}]), batch(LATER), max_wait=0)
    assert played.result().results == (client.Refusal("region_rate_limited", "wait", 0.5, {}),)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"{}", b'{"ok": true, "user_id": "a"}', b"\xff"])
def test_an_answer_of_something_else_says_so(body: bytes) -> None:
    error = Played(Api("t").add(1), Answer(200, {}, body)).error()
    assert isinstance(error, client.UnexpectedAnswer)
    assert (error.code, error.status) == ("unexpected_answer", 200)


def test_an_error_page_without_an_envelope_has_its_family_all_the_same() -> None:
    error = Played(Api("t").add(1), Answer(403, {}, b"<html>")).error()
    assert isinstance(error, client.Forbidden)
    assert (error.code, error.message) == ("http_403", "Forbidden")
    assert isinstance(Played(Api("t").add(1), Answer(301, {"location": "/x"}, b"")).error(), client.UnexpectedAnswer)
    assert str(error).startswith("http_403: Forbidden (HTTP 403, request ")


def test_every_error_of_the_api_has_a_family() -> None:
    for code, kind in all_errors().items():
        assert family_of(kind.status) is not client.UnexpectedAnswer, code
        assert issubclass(family_of(kind.status), LeaderboardError)
    assert {family_of(status) for status in (400, 405, 413, 418, 422)} == {client.InvalidRequest}
    assert {family_of(status) for status in (500, 501, 599)} == {client.ServerError}


def test_health_is_read_when_it_is_bad() -> None:
    ill = answer({"ok": False, "upstreams": []}, 503)
    assert Played(Api().health(), ill).result() == client.Health(False, {"ok": False, "upstreams": []})
    assert Played(Api().metrics(), Answer(200, {}, b"# HELP")).result() == "# HELP"


@pytest.mark.parametrize(
    ("header", "stated", "seconds"),
    [
        ("3", None, 3.0),
        ("3", 2.5, 2.5),
        ("3", "2", 3.0),
        ("3", True, 3.0),
        ("3", -1, 3.0),
        ("3", float("inf"), 3.0),
        (None, None, None),
        ("soon", None, None),
        ("-3", None, None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None, 0.0),
    ],
)
def test_when_to_come_back(header: str | None, stated: object, seconds: float | None) -> None:
    assert retry_after_of(header, stated) == seconds


def test_a_date_to_come_back_at() -> None:
    later = datetime.now(UTC) + timedelta(seconds=90)
    for text in (format_datetime(later, usegmt=True), later.strftime("%a, %d %b %Y %H:%M:%S -0000")):
        seconds = retry_after_of(text)
        assert seconds is not None
        assert 88 < seconds <= 90
