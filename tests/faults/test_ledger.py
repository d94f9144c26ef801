"""Test the ledger itself: which answers it must accept, and which it must reject."""

from __future__ import annotations

import httpx
import pytest

from tests.faults.answers import Answer, Expectation, check_order, check_rank, read_answer
from tests.faults.ledger import Ledger, board_order, ranks
from tests.faults.load import repeats
from tests.faults.records import Outcome, Player, Violation


def a_player(*outcomes: Outcome, adds: bool = True) -> tuple[Ledger, Player]:
    ledger = Ledger(("EU", "GLOBAL"))
    ledger.snapshot_seconds = 0
    player = ledger.new_player("p", "P", "EU", adds=adds)
    ledger.created(player)
    for outcome in outcomes:
        ledger.settle(player, player.begin(), outcome)
    return ledger, player


@pytest.mark.parametrize("score", [1 + 16, 1 + 4 + 16])
def test_an_uncertain_add_may_have_counted_or_not(score: int) -> None:
    ledger, player = a_player(Outcome.ACKNOWLEDGED, Outcome.UNKNOWN, Outcome.ACKNOWLEDGED)
    player.check(score, player.floor(ledger.clock))


@pytest.mark.parametrize(
    ("score", "problem"),
    [
        (1, "acknowledged writes \\[2\\] are missing"),
        (2 + 16, "write 0 was counted 2 times \\(acknowledged\\)"),
        (1 + 8 + 16, "write 1 was counted 2 times \\(unknown\\)"),
        (1 + 16 + 64, "refused writes \\[3\\]"),
        (1 + 16 + 256, "no sum of its 4 writes"),
        (-1, "no sum"),
    ],
)
def test_a_lost_a_doubled_a_refused_and_an_invented_add_are_seen(score: int, problem: str) -> None:
    ledger, player = a_player(Outcome.ACKNOWLEDGED, Outcome.UNKNOWN, Outcome.ACKNOWLEDGED, Outcome.REFUSED)
    with pytest.raises(Violation, match=problem):
        player.check(score, player.floor(ledger.clock))


@pytest.mark.parametrize("score", [1, 3])
def test_an_uncertain_set_may_come_late(score: int) -> None:
    ledger, player = a_player(Outcome.UNKNOWN, Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED, adds=False)
    player.check(score, player.floor(ledger.clock))


@pytest.mark.parametrize("score", [0, 2, 4])
def test_an_older_or_an_invented_set_is_seen(score: int) -> None:
    ledger, player = a_player(Outcome.UNKNOWN, Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED, adds=False)
    with pytest.raises(Violation):
        player.check(score, player.floor(ledger.clock))


def an_answer(ledger: Ledger, score: int, source: str, *, total: int = 1) -> Answer:
    body = {"found": True, "total": total, "rank": 1, "user_id": "p", "score": score}
    headers = {"X-Leaderboard-Source": source}
    return read_answer("GET /rank/p", httpx.Response(200, json=body, headers=headers))


def test_what_is_acknowledged_during_a_read_need_not_be_in_it_and_postgres_may_be_older() -> None:
    ledger, player = a_player(Outcome.ACKNOWLEDGED)
    before = Expectation.now(ledger, "EU")
    ledger.settle(player, player.begin(), Outcome.ACKNOWLEDGED)
    check_rank(before, an_answer(ledger, 1, "redis"), "p")
    after = Expectation.now(ledger, "EU")
    check_rank(after, an_answer(ledger, 1, "postgres"), "p")
    with pytest.raises(Violation, match="acknowledged writes"):
        check_rank(after, an_answer(ledger, 1, "redis"), "p")


def test_a_read_from_postgres_may_be_of_a_snapshot_that_is_some_seconds_old() -> None:
    ledger, _ = a_player(Outcome.ACKNOWLEDGED)
    check_rank(Expectation.now(ledger, "EU"), an_answer(ledger, 1, "postgres"), "p")
    ledger.snapshot_seconds = 60
    missing = Answer(404, {"found": False, "error": "user_not_found"}, "postgres")
    check_rank(Expectation.now(ledger, "EU"), missing, "p")
    check_rank(Expectation.now(ledger, "EU"), an_answer(ledger, 0, "postgres", total=0), "p")


def test_postgres_never_forgets_what_it_was_seen_to_have() -> None:
    ledger, _ = a_player(Outcome.ACKNOWLEDGED)
    check_rank(Expectation.now(ledger, "EU"), an_answer(ledger, 1, "postgres"), "p")
    later = Expectation.now(ledger, "EU")
    missing = Answer(404, {"found": False, "error": "user_not_found"}, "postgres")
    for answer in (an_answer(ledger, 0, "postgres"), an_answer(ledger, 1, "postgres", total=0), missing):
        with pytest.raises(Violation):
            check_rank(later, answer, "p")


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(502, html="<html>"),
        httpx.Response(500, json={"error": "internal_error", "message": "m"}),
        httpx.Response(503, json={"detail": "no envelope"}),
    ],
    ids=["html", "500", "no-envelope"],
)
def test_answers_that_nobody_should_see(response: httpx.Response) -> None:
    with pytest.raises(Violation):
        read_answer("GET /top", response)


def test_order_and_ranks() -> None:
    rows = board_order([("a", 5), ("b", 5), ("c", 9)])
    assert rows == [("c", 9), ("b", 5), ("a", 5)]
    assert ranks(rows) == [1, 2, 2]
    good = [
        {"user_id": user_id, "score": score, "rank": rank}
        for (user_id, score), rank in zip(rows, (1, 2, 2), strict=True)
    ]
    check_order(good, first_rank=1)
    for broken in ([good[0], good[2], good[1]], [good[0], {**good[1], "rank": 3}], [good[1]]):
        with pytest.raises(Violation):
            check_order(broken, first_rank=1)


def test_a_repeat_may_have_forgotten_what_the_score_was_and_nothing_else() -> None:
    first = {"ok": True, "score": 6, "previous": 1, "improved": True, "updated_at": 7}
    assert repeats(first, first)
    assert repeats(first, {**first, "previous": None, "improved": None})
    assert repeats({name: first[name] for name in ("ok", "score", "updated_at")}, first), "of an earlier version"
    for name, wrong in (("score", 7), ("previous", 2), ("improved", False), ("updated_at", 8)):
        assert not repeats(first, {**first, name: wrong})
    assert not repeats(first, {"error": "unavailable", "message": "m"})
