"""Test what the ledger allows of entries on boards: the best, removals, deletions, totals and answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from leaderboard_core.boards import Rules
from tests.faults.answers import Answer, Expectation, check_entries, check_order, expect_entries, read_answer
from tests.faults.boards import BOARDS
from tests.faults.entries_verification import check_rows
from tests.faults.ledger import Ledger
from tests.faults.load import repeats
from tests.faults.records import Outcome, Player, Record, Violation
from tests.faults.system import SavedEntry

DONE, UNKNOWN, REFUSED = Outcome.ACKNOWLEDGED, Outcome.UNKNOWN, Outcome.REFUSED


def an_entry(board: str, *outcomes: Outcome, adds: bool = True) -> tuple[Ledger, Player, Record]:
    ledger = Ledger(("EU", "GLOBAL"))
    ledger.boards, ledger.snapshot_seconds = BOARDS, 0
    player = ledger.new_player("p", "P", "EU", adds=adds)
    ledger.created(player)
    entry = ledger.entry(player, board)
    for outcome in outcomes:
        ledger.settle(entry, entry.begin(), outcome)
    return ledger, player, entry


@pytest.mark.parametrize(
    ("outcomes", "number", "write"),
    [
        ((DONE, DONE), 0, 0),  # the second is worse
        ((DONE, DONE, DONE), 0, 0),  # the third is as good, and later
        ((DONE, DONE, DONE, DONE), 3, 3),
        ((DONE, DONE, DONE, UNKNOWN), 3, 3),
        ((DONE, DONE, DONE, UNKNOWN), 0, 0),
        ((UNKNOWN, DONE, DONE), 0, 0),  # it may have come before
        ((UNKNOWN, DONE, DONE), 2, 2),
        ((UNKNOWN, DONE), 1, 1),
        ((DONE, DONE, DONE), 0, None),
    ],
)
def test_the_best_that_may_stand(outcomes: tuple[Outcome, ...], number: int, write: int | None) -> None:
    ledger, _, entry = an_entry("laps", *outcomes)
    entry.check_at(entry.amount(number), ledger.clock, write=write)


@pytest.mark.parametrize(
    ("outcomes", "number", "write", "problem"),
    [
        ((DONE, DONE), 1, 1, r"the acknowledged writes \[0\] are better"),
        ((DONE, DONE, DONE, DONE), 0, 0, r"the acknowledged writes \[3\] are better"),
        ((DONE, DONE, DONE), 2, 2, "of write 2, of"),
        ((DONE, DONE, UNKNOWN), 2, 2, "of write 2, of"),
        ((REFUSED, DONE), 0, 0, "of write 0, of"),
        ((DONE,), 0, 1, "of write 1, of"),
        ((DONE,), 3, 3, "never set"),
    ],
    ids=["worse", "older", "equal-later", "equal-unknown-later", "refused", "other-metadata", "invented"],
)
def test_the_best_that_may_not_stand(
    outcomes: tuple[Outcome, ...], number: int, write: int | None, problem: str
) -> None:
    ledger, _, entry = an_entry("laps", *outcomes)
    with pytest.raises(Violation, match=problem):
        entry.check_at(entry.amount(number), ledger.clock, write=write)


def test_an_entry_may_be_missing_while_it_is_removed_and_must_be_then() -> None:
    ledger, _, entry = an_entry("coins", DONE)
    before = ledger.clock
    assert entry.must_exist(before, "redis")
    ledger.begin_removal(entry)
    assert not entry.must_exist(before, "redis")
    entry.check_at(1, ledger.clock)
    ledger.removed(entry)
    entry.check_at(1, before)
    with pytest.raises(Violation, match="was removed, and is there"):
        entry.check_at(1, ledger.clock)
    entry.check_at(1, ledger.clock, "postgres")  # which may not have it yet
    ledger.all_is_saved()
    with pytest.raises(Violation, match="was removed, and is there"):
        entry.check_at(1, ledger.clock, "postgres")


def test_what_was_removed_counts_no_more_and_what_was_uncertain_may() -> None:
    ledger, _, entry = an_entry("coins", DONE, UNKNOWN)
    ledger.begin_removal(entry)
    ledger.removed(entry)
    entry.check_at(4, ledger.clock)  # it came late
    ledger.settle(entry, entry.begin(), DONE)
    for score in (16, 16 + 4):
        entry.check_at(score, ledger.clock)
    with pytest.raises(Violation, match=r"writes \[0\] of before a removal"):
        entry.check_at(16 + 1, ledger.clock)
    with pytest.raises(Violation, match=r"acknowledged writes \[2\] are missing"):
        entry.check_at(4, ledger.clock)


def test_a_best_of_before_a_removal_is_seen() -> None:
    ledger, _, entry = an_entry("laps", DONE)
    ledger.begin_removal(entry)
    ledger.removed(entry)
    ledger.settle(entry, entry.begin(), DONE)
    entry.check_at(entry.amount(1), ledger.clock, write=1)
    with pytest.raises(Violation, match=r"gone: \[0\]"):
        entry.check_at(entry.amount(0), ledger.clock, write=0)


def test_a_deletion_takes_all_records_and_a_successor_begins_anew() -> None:
    ledger, player, entry = an_entry("level", DONE, DONE, adds=False)
    ledger.begin_removal(*player.records)
    ledger.removed(*player.records)
    for record in player.records:
        with pytest.raises(Violation, match="was removed, and is there"):
            record.check_at(0, ledger.clock)
    ledger.settle(player, player.begin(), DONE)
    ledger.created(player)
    player.check_at(1, ledger.clock)
    with pytest.raises(Violation, match="of before a removal"):
        player.check_at(0, ledger.clock)
    assert player.must_exist(ledger.clock, "redis")
    assert not entry.must_exist(ledger.clock, "redis")
    assert (ledger.there["EU"], ledger.begun["EU"], ledger.leaving["EU"]) == (1, 1, 1)


def test_an_old_row_of_one_that_left_says_nothing_of_its_successor() -> None:
    ledger, player, entry = an_entry("coins", DONE)
    ledger.begin_removal(entry)
    ledger.removed(entry)
    ledger.saw_row(entry, frozenset({0}))
    assert not entry.must_exist(ledger.clock, "postgres")
    ledger.settle(entry, entry.begin(), DONE)
    ledger.saw_row(entry, frozenset({1}))
    assert entry.must_exist(ledger.clock, "postgres")
    assert player.entries == {"coins": entry}


def test_totals_of_rankings() -> None:
    ledger, _, entry = an_entry("level", DONE)
    for region in ("EU", "GLOBAL"):
        expected = Expectation.now(ledger, region, "level")
        expected.check_total("redis", 1)
        for total in (0, 2):
            with pytest.raises(Violation, match=f"level {region} from redis has {total} players, not 1 to 1"):
                expected.check_total("redis", total)
    ledger.begin_removal(entry)
    Expectation.now(ledger, "EU", "level").check_total("redis", 0)


def entries_answer(board: str, score: int, *regions: str, metadata: dict[str, Any] | None = None) -> Answer:
    entry = {"board": board, "score": score, "ranks": {name: {"rank": 1, "total": 1} for name in regions}}
    body = {"user_id": "p", "entries": [main_entry(), entry | ({"metadata": metadata} if metadata else {})]}
    return read_answer("GET /users/p/entries", httpx.Response(200, json=body))


def main_entry() -> dict[str, Any]:
    return {"board": "main", "score": 0, "ranks": {name: {"rank": 1, "total": 1} for name in ("EU", "GLOBAL")}}


def test_answers_with_a_players_entries() -> None:
    ledger, player, entry = an_entry("laps", DONE)
    good = entries_answer("laps", entry.amount(0), "EU", "GLOBAL", metadata={"write": 0})
    check_entries(expect_entries(ledger, player), good, "p")
    none = read_answer("GET", httpx.Response(200, json={"user_id": "p", "entries": [main_entry()]}))
    for wrong, problem in (
        (none, "p on laps exists and was not found"),
        (entries_answer("laps", entry.amount(1), "EU", "GLOBAL"), "never set"),
        (entries_answer("laps", entry.amount(0), "EU", "GLOBAL", metadata={"write": 1}), "of write 1"),
        (entries_answer("laps", entry.amount(0), "EU"), "no rank on laps GLOBAL"),
    ):
        with pytest.raises(Violation, match=problem):
            check_entries(expect_entries(ledger, player), wrong, "p")
    ledger, player, _ = an_entry("laps")
    check_entries(expect_entries(ledger, player), none, "p")
    for board, problem in (("level", "p was never written to level"), ("other", "p is on {'other'}")):
        with pytest.raises(Violation, match=problem):
            check_entries(expect_entries(ledger, player), entries_answer(board, 0, "EU", "GLOBAL"), "p")


def test_an_entry_that_is_missing_and_a_player_that_is_missing() -> None:
    ledger, _, _ = an_entry("laps")
    no_entry = Answer(404, {"found": False, "error": "no_entry", "total": 0}, "redis")
    Expectation.now(ledger, "EU", "laps").check_missing(no_entry, "p")
    unknown = Answer(404, {"found": False, "error": "user_not_found"}, "redis")
    with pytest.raises(Violation, match="p exists and was not found"):
        Expectation.now(ledger, "EU", "laps").check_missing(unknown, "p")


@pytest.mark.parametrize(
    ("board", "answer"),
    [
        ("coins", {"score": 4, "previous": 1}),  # without the write
        ("coins", {"score": 1 + 4, "previous": 0}),
        ("coins", {"score": 1 + 4, "board": "main"}),
        ("level", {"score": 1 + 4 + 16}),
        ("laps", {"score": 80}),  # worse than what was sent
    ],
)
def test_answers_to_writes(board: str, answer: dict[str, Any]) -> None:
    ledger, _, entry = an_entry(board, DONE)
    right = {"board": board, "score": entry.amount(0) if board == "laps" else 1 + 4, "previous": entry.amount(0)}
    if board == "laps":
        right["previous"] = None
    number, at = entry.begin(), ledger.clock
    entry.check_answer(number, at, right)
    with pytest.raises(Violation):
        entry.check_answer(number, at, right | answer)


def a_row(ledger: Ledger, **changes: Any) -> SavedEntry:
    amount = ledger.players["p"].entries["laps"].amount(0)
    member = f"{0:016d}p"
    row = SavedEntry("EU", "laps", "p", 2, "all", "EU", -amount, member, 0, False, '{"write":0}')
    return row._replace(**changes)


def test_rows_of_entries() -> None:
    ledger, player, entry = an_entry("laps", DONE)
    assert check_rows(ledger, [a_row(ledger)]) == []
    assert "is missing in Postgres" in check_rows(ledger, [])[0]
    for changes, problem in (
        ({"removed": True}, "is missing in Postgres"),
        ({"home": "NA"}, "in the wrong place"),
        ({"region": "NA"}, "in the wrong place"),
        ({"member": "p"}, "a wrong member"),
        ({"board": "level"}, "nobody wrote"),
        ({"user_id": "q"}, "nobody wrote"),
        ({"key": entry.amount(0)}, "never set"),
        ({"metadata": '{"write":1}'}, "of write 1"),
    ):
        assert problem in check_rows(ledger, [a_row(ledger, **changes)])[0]
    ledger.begin_removal(*player.records)
    ledger.removed(*player.records)
    assert "was deleted, and an entry is left" in check_rows(ledger, [a_row(ledger, removed=True)])[0]
    assert check_rows(ledger, []) == []


@pytest.mark.parametrize(("submits", "right"), [(1, False), (2, True), (3, True), (4, False)])
def test_submits_that_are_counted(submits: int, right: bool) -> None:
    ledger, _, _ = an_entry("coins", DONE, DONE, UNKNOWN, REFUSED)
    row = SavedEntry("EU", "coins", "p", 1, "all", "EU", 1 + 4, "p", submits, False, "")
    assert (check_rows(ledger, [row]) == []) is right


def test_order_where_the_lowest_and_the_earliest_stand_higher() -> None:
    rules = Rules(order="asc", ties="earliest")
    rows = [
        {"user_id": user_id, "score": score, "rank": rank}
        for rank, (user_id, score) in enumerate([("a", 3), ("c", 5), ("b", 5)], start=1)
    ]
    check_order(rows, first_rank=1, rules=rules)
    for broken in ([rows[1], rows[0]], [rows[0], rows[1], rows[2] | {"rank": 2}], rows[1:]):
        with pytest.raises(Violation):
            check_order(broken, first_rank=1, rules=rules)


def test_each_score_of_a_call_is_accepted_or_refused_by_itself() -> None:
    done = {"ok": True, "board": "coins", "user_id": "p", "score": 1, "previous": None, "updated_at": 7}
    away = {"ok": False, "error": "unavailable", "message": "m"}
    answer = Answer(200, {"ok": False, "accepted": 1, "results": [done, away]}, "redis")
    first, second = answer.results(2)
    assert (first.ok, second.ok, second.changed_nothing) == (True, False, False)
    for body in ({"results": [done]}, {"results": [done, away | {"error": "user_not_found"}]}):
        with pytest.raises(Violation):
            Answer(200, body, "redis").results(2)


def test_a_repeat_of_several_scores_repeats_each() -> None:
    one = {"ok": True, "board": "coins", "score": 1, "updated_at": 7}
    first = {"ok": True, "accepted": 2, "results": [one, one]}
    assert repeats(first, first)
    assert not repeats(first, {**first, "results": [one]})
    assert not repeats(first, {**first, "results": [one, one | {"score": 2}]})
    assert not repeats(first, {"error": "unavailable", "message": "m"})


@pytest.mark.parametrize(
    ("board", "outcomes", "corrected"),
    [
        ("coins", (), 1),
        ("coins", (DONE, REFUSED, DONE), 1 + 16 + 64),
        ("coins", (DONE, UNKNOWN, DONE), None),  # nobody knows the sum
        ("laps", (DONE, DONE, DONE), 3 * 25),
        ("laps", (DONE,), None),  # worse than what is there
        ("level", (DONE, DONE), 1 + 4 + 16),
    ],
)
def test_a_correction_sets_what_the_write_would_come_to(
    board: str, outcomes: tuple[Outcome, ...], corrected: int | None
) -> None:
    _, _, entry = an_entry(board, *outcomes)
    assert entry.correction(entry.begin()) == corrected


def test_a_correction_is_no_submit() -> None:
    _, _, entry = an_entry("coins", DONE, UNKNOWN)
    entry.corrections.add(0)
    entry.check_submits(1)
    with pytest.raises(Violation, match="2 submits, not 0 to 1"):
        entry.check_submits(2)


def test_the_sum_after_a_removal_is_not_corrected() -> None:
    _, _, entry = an_entry("coins", DONE)
    entry.begin_removal()
    assert entry.correction(entry.begin()) is None
