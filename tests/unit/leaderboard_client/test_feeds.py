"""Test live feeds without I/O: how events change the state, and how a broken feed resumes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import leaderboard_client as client
from leaderboard_client.feeds import Stream, TopFeed
from leaderboard_client.follow import follow
from leaderboard_client.retrying import RetryPolicy
from leaderboard_client.steps import Answer, Emit, Failure, Open, Outcome, Read, Request, Wait
from leaderboard_client.transport import Api

OPEN = Answer(200, {"content-type": "text/event-stream"})
END = b""
CUT = Failure(ConnectionResetError("reset"))


def live(position: int, user_id: str, score: int, rank: int | None = None) -> dict[str, Any]:
    place = {"position": position, "rank": rank or position, "user_id": user_id, "name": user_id.title()}
    return {**place, "region": "EU", "score": score, "new_field": True}


def event(kind: str, data: object, event_id: str = "") -> bytes:
    return f"event: {kind}\n{f'id: {event_id}' if event_id else ':'}\ndata: {json.dumps(data)}\n\n".encode()


def board(rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"region": "EU", "total": len(rows), "source": "redis", "rows": rows, **more}


SNAPSHOT = event("snapshot", board([live(1, "ada", 9), live(2, "bob", 5)]), "s1")
CHANGE = event("change", board([live(1, "bob", 12), live(2, "ada", 9)], removed=[]), "s2")


class Followed:
    """Run a feed against given outcomes; time passes only in its waits."""

    def __init__(self, stream: Stream[Any], *outcomes: Outcome, max_wait: float = 30) -> None:
        self.now = 0.0
        self.opened: list[Request] = []
        self.waits: list[float] = []
        self.values: list[Any] = []
        self._outcomes = list(outcomes)
        policy = RetryPolicy(timeout=45, max_wait=max_wait, chance=lambda: 0.5)
        self._steps = follow(stream, "http://board", policy, lambda: self.now)

    def run(self) -> Followed:
        """Run until the feed or the outcomes end."""
        outcome: Outcome = None
        while True:
            try:
                step = self._steps.send(outcome)
            except StopIteration:
                assert not self._outcomes, "outcomes are left over"
                return self
            if isinstance(step, Emit):
                self.values.append(step.value)
                outcome = None
            elif isinstance(step, Wait):
                self.waits.append(step.seconds)
                self.now += step.seconds
                outcome = None
            else:
                if not self._outcomes:
                    self._steps.close()
                    return self
                if isinstance(step, Open):
                    self.opened.append(step.request)
                else:
                    assert isinstance(step, Read)
                outcome = self._outcomes.pop(0)

    def last_event_ids(self) -> list[str | None]:
        return [request.headers.get("last-event-id") for request in self.opened]


def names(state: client.LiveTop) -> list[tuple[int, str, int]]:
    return [(row.position, row.user_id, row.score) for row in state.rows]


def test_a_snapshot_and_its_changes() -> None:
    leave = event("change", board([live(1, "eve", 20), live(2, "bob", 12)], removed=["ada"]))
    followed = Followed(Api().stream_top("EU", limit=2), OPEN, SNAPSHOT + CHANGE, leave).run()
    assert [names(state) for state in followed.values] == [
        [(1, "ada", 9), (2, "bob", 5)],
        [(1, "bob", 12), (2, "ada", 9)],
        [(1, "eve", 20), (2, "bob", 12)],
    ]
    assert followed.values[0].rows[0] == client.LiveRow(1, 1, "ada", "Ada", "EU", 9)
    assert followed.opened[0].url == "http://board/stream/top?region=EU&limit=2"
    assert followed.opened[0].headers["accept"] == "text/event-stream"


PLAYERS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 9), max_size=6)


def ranked(scores: dict[str, int]) -> dict[str, dict[str, Any]]:
    order = sorted(scores, key=lambda user_id: (scores[user_id], user_id), reverse=True)
    higher = {score: sum(other > score for other in scores.values()) for score in scores.values()}
    return {u: live(place, u, scores[u], higher[scores[u]] + 1) for place, u in enumerate(order, 1)}


@given(st.lists(PLAYERS, min_size=1, max_size=8))
def test_only_what_differs_makes_the_same_board_as_the_whole(boards: list[dict[str, int]]) -> None:
    feed, before = TopFeed(), ranked({})
    feed.apply(client.Event("snapshot", json.dumps(board([]))))
    for scores in boards:
        now = ranked(scores)
        rows = [row for user_id, row in now.items() if before.get(user_id) != row]
        removed = [user_id for user_id in before if user_id not in now]
        changed = feed.apply(client.Event("change", json.dumps(board(rows, removed=removed))))
        whole = TopFeed().apply(client.Event("snapshot", json.dumps(board(list(now.values())))))
        assert changed is not None
        assert whole is not None
        assert changed.rows == whole.rows
        before = now


def test_a_broken_feed_goes_on_after_its_last_event() -> None:
    followed = Followed(
        *(Api().stream_top(), Failure(OSError(), maybe_done=False), OPEN, b"retry: 1000\n\n", SNAPSHOT, CUT),
        *(Answer(503, {"retry-after": "2"}, b"{}"), CUT, OPEN, CHANGE, END, OPEN, b": heartbeat\n\n", CUT, OPEN),
    ).run()
    assert followed.last_event_ids() == [None, None, "s1", "s1", "s1", "s2", "s2"]
    assert [names(state)[0][1] for state in followed.values] == ["ada", "bob"]
    assert followed.waits[0] < 0.1
    # As the server asked: after the cut a second with jitter, after the 503 no less than two.
    assert followed.waits[1:3] == [0.75, 3.0]
    assert followed.waits[3] > 1
    assert followed.waits[4:] == [0.75, 0.75]


def test_what_was_not_whole_when_the_feed_broke_is_dropped() -> None:
    half = len(CHANGE) - 30
    followed = Followed(Api().stream_top(), OPEN, SNAPSHOT + CHANGE[:half], CUT, OPEN, CHANGE).run()
    assert followed.last_event_ids() == [None, "s1"]
    assert [names(state)[0][1] for state in followed.values] == ["ada", "bob"]


def test_a_feed_that_cannot_be_had_is_given_up_in_time() -> None:
    followed = Followed(Api().stream_top(), *[Failure(OSError("refused"), maybe_done=False)] * 4, max_wait=0.7)
    with pytest.raises(client.ConnectionFailed, match="refused"):
        followed.run()
    assert followed.now <= 0.7


def test_after_the_first_connection_an_outage_lasts_as_long_as_it_is_allowed() -> None:
    hour = [CUT] * 900
    followed = Followed(Api().stream_top(), OPEN, SNAPSHOT, *hour).run()
    assert followed.now > 3000
    allowed = Followed(Api().stream_top(max_outage=60), OPEN, SNAPSHOT, *hour)
    with pytest.raises(client.ConnectionFailed):
        allowed.run()
    assert 50 < allowed.now <= 60


def test_silent_connections_are_no_connections() -> None:
    outcomes: list[Outcome] = [OPEN, END] * 14
    followed = Followed(Api().stream_top(), *outcomes)
    with pytest.raises(client.ConnectionFailed, match="broke off"):
        followed.run()
    assert followed.now <= 30


def test_unavailable_is_shown_and_passes() -> None:
    unavailable = event("unavailable", {"error": "unavailable", "message": "m"})
    followed = Followed(Api().stream_top(), OPEN, unavailable, SNAPSHOT, unavailable, CHANGE).run()
    assert [state.available for state in followed.values] == [True, False, True]
    assert names(followed.values[1]) == names(followed.values[0])


PLACE = {"rank": 3, "position": 4, "percentile": 50.0, "user_id": "ada", "name": "Ada", "region": "EU", "score": 7}


def test_a_players_rank_is_followed_until_it_is_gone() -> None:
    rows = [{"rank": 2, "position": 2, "user_id": "bob", "name": "Bob", "region": "EU", "score": 8}]
    state = {"region": "GLOBAL", "total": 5, "source": "redis", "self": PLACE, "around": rows}
    moved = {**state, "self": {**PLACE, "rank": 1}, "around": []}
    gone = event("gone", {"user_id": "ada"})
    chunks = event("snapshot", state) + event("change", moved) + gone + event("snapshot", state)
    followed = Followed(Api().stream_rank("ada", reach=1), OPEN, chunks).run()
    assert followed.opened[0].url == "http://board/stream/rank/ada?region=GLOBAL&range=1"
    assert followed.values == [
        client.LiveRank(
            *("GLOBAL", 5, "redis"),
            client.LivePlace(3, 4, 50.0, "ada", "Ada", "EU", 7),
            (client.Row(2, 2, "bob", "Bob", "EU", 8),),
        ),
        client.LiveRank("GLOBAL", 5, "redis", client.LivePlace(1, 4, 50.0, "ada", "Ada", "EU", 7), ()),
    ]


UNKNOWN = Answer(404, {}, b'{"found": false, "error": "user_not_found", "message": "m"}')


def test_an_unknown_player_is_an_error_and_one_that_was_deleted_meanwhile_an_end() -> None:
    with pytest.raises(client.NotFound, match="user_not_found"):
        Followed(Api().stream_rank("ada"), UNKNOWN).run()
    state = {"region": "EU", "total": 1, "source": "redis", "self": PLACE, "around": []}
    followed = Followed(Api().stream_rank("ada"), OPEN, event("snapshot", state), CUT, UNKNOWN).run()
    assert len(followed.values) == 1


def test_raw_events_come_as_they_are_from_where_one_likes() -> None:
    unavailable = event("unavailable", {"error": "unavailable"})
    followed = Followed(Api().events_top("EU", last_event_id="s0"), OPEN, unavailable + CHANGE, CUT, OPEN).run()
    assert [(seen.event, seen.id) for seen in followed.values] == [("unavailable", "s0"), ("change", "s2")]
    assert followed.values[1].json()["rows"][0]["user_id"] == "bob"
    assert followed.last_event_ids() == ["s0", "s2"]
    gone = event("gone", {})
    assert len(Followed(Api().events_rank("ada"), OPEN, gone).run().values) == 1


@pytest.mark.parametrize(
    ("first", "chunk"),
    [
        (Answer(200, {"content-type": "text/html"}), None),
        (OPEN, CHANGE),
        (OPEN, event("snapshot", {})),
        (OPEN, event("snapshot", [])),
        (OPEN, b"event: snapshot\ndata: {\n\n"),
    ],
)
def test_a_feed_of_something_else_is_no_feed(first: Answer, chunk: bytes | None) -> None:
    outcomes = [first] if chunk is None else [first, chunk]
    with pytest.raises(client.UnexpectedAnswer):
        Followed(Api().stream_top(), *outcomes).run()


def test_no_content_means_do_not_come_back() -> None:
    assert Followed(Api().stream_top(), Answer(204, {})).run().values == []
