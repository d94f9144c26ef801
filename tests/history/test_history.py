"""Test what is recorded and how it is encoded; none of it needs the checker, or Go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.history.durability import Life, Mark, ReturnedError, Snapshot, losses
from tests.history.faults import FAULTS, ONE_AFTER_THE_OTHER, PAIRS
from tests.history.operations import Attempt, History, Loss, Operation, Outcome, encode
from tests.history.porcupine import EXAMPLES


def an_operation(*attempts: tuple[int, int | None, Outcome], outcome: Outcome = "ok", **fields: object) -> Operation:
    operation = Operation(0, "add", "p", 5, "key", outcome=outcome, score=5, updated_at=100, source="redis")
    operation.attempts = [Attempt("nginx", start, end, said, "") for start, end, said in attempts]
    for name, value in fields.items():
        setattr(operation, name, value)
    return operation


A_LOSS = Loss(1, start=100, end=200, since=80, seen=True)


# What an operation is


def test_a_repeated_call_is_one_operation_from_its_first_attempt_that_was_not_refused_to_its_answer() -> None:
    operation = an_operation((10, 20, "refused"), (30, 40, "unknown"), (50, 60, "ok"))
    (line,) = encode(operation, ())
    assert (line["start"], line["end"], line["outcome"], line["undone_by"]) == (30, 60, "ok", [])
    assert len(line["attempts"]) == 3


def test_a_write_without_an_answer_has_no_end_and_may_be_undone_by_every_later_loss() -> None:
    operation = an_operation((10, 20, "unknown"), outcome="unknown")
    (line,) = encode(operation, [A_LOSS, Loss(2, start=5, end=9, since=0, seen=True)])
    assert (line["end"], line["undone_by"]) == (None, [1])


@pytest.mark.parametrize(
    ("end", "committed", "kind", "undone"),
    [
        (79, 0, "add", False),
        (80, 0, "add", True),
        (150, 99, "set", True),
        (150, 100, "set", False),
        (79, 0, "read", False),
        (90, 100, "read", True),
    ],
)
def test_a_loss_may_undo_what_had_not_ended_in_time_and_is_not_committed(
    end: int, committed: int, kind: str, undone: bool
) -> None:
    loss = Loss(1, start=100, end=200, since=80, seen=False, committed={"p": committed})
    assert loss.may_undo(an_operation((10, end, "ok"), kind=kind)) is undone


def test_a_loss_undoes_nothing_that_began_after_it() -> None:
    assert not A_LOSS.may_undo(an_operation((201, 210, "ok")))
    assert not A_LOSS.may_undo(an_operation((201, None, "unknown"), outcome="unknown"))


def test_a_write_repeated_over_a_loss_may_have_been_done_on_each_side() -> None:
    operation = an_operation((90, 110, "unknown"), (210, 220, "ok"))
    first, second = encode(operation, [A_LOSS])
    assert (first["outcome"], first["end"], first["score"], first["undone_by"]) == ("unknown", None, None, [1])
    assert (second["outcome"], second["end"], second["score"]) == ("repeated", 220, 5)
    given_up = an_operation((90, 110, "unknown"), (210, 220, "unknown"), outcome="unknown")
    assert [line["outcome"] for line in encode(given_up, [A_LOSS])] == ["unknown", "unknown"]


@pytest.mark.parametrize(
    ("attempts", "seen"),
    [
        ([(90, 110, "unknown"), (210, 220, "ok")], False),  # no data was lost, so no key was
        ([(90, 110, "refused"), (210, 220, "ok")], True),
        ([(90, 210, "ok")], True),
        ([(10, 20, "unknown"), (30, 40, "ok")], True),
        ([(210, 220, "unknown"), (230, 240, "ok")], True),
    ],
)
def test_a_write_that_can_only_be_done_once_stays_one(attempts: list[tuple[int, int, Outcome]], seen: bool) -> None:
    loss = Loss(1, start=100, end=200, since=80, seen=seen)
    (line,) = encode(an_operation(*attempts), [loss])
    assert line["outcome"] == "ok"


def test_a_history_has_what_was_begun_and_not_what_was_never_sent() -> None:
    history = History()
    broken_off = history.begin(1, "add", "p", 7)
    broken_off.attempts.append(Attempt("gateway-1", history.now(), None, "unknown", ""))
    history.begin(2, "set", "p", 9)
    about, loss, line = (json.loads(text) for text in history.lines([A_LOSS], {"seed": 3}))
    assert (about["seed"], loss["since"], line["argument"], line["outcome"]) == (3, 80, 7, "unknown")


# What a new life of Redis may have lost


def a_life(found: int, at: int, *beats: tuple[int, int, int | None], pid: int = 1, down: tuple[int, ...] = ()) -> Life:
    life = Life(pid, found, at, down=list(down))
    for number, start, end in beats:
        life.note(number, start, end)
    return life


def test_a_life_that_has_every_acknowledged_beat_lost_nothing_that_had_ended_before_the_last() -> None:
    (loss,) = losses([a_life(0, 0, (1, 10, 12), (2, 20, 22)), a_life(2, 50, pid=2)], [], [])
    assert (loss.number, loss.start, loss.end, loss.since, loss.seen) == (1, 20, 50, 20, False)


def test_a_beat_without_an_answer_that_is_there_was_kept_and_one_that_is_missing_proves_nothing() -> None:
    lives = [a_life(0, 0, (1, 10, 12), (2, 20, None)), a_life(2, 50, (3, 60, 62), (4, 70, None)), a_life(3, 90)]
    first, second = losses(lives, [], [])
    assert (first.since, first.seen, first.start) == (20, False, 10)
    assert (second.since, second.seen) == (60, False)


def test_lost_beats_say_since_when() -> None:
    lives = [a_life(0, 0, (1, 10, 12), (2, 20, 22), (3, 30, 32)), a_life(1, 50, (4, 60, 62)), a_life(4, 90)]
    first, second = losses(lives, [], [])
    assert (first.since, first.seen) == (10, True)
    assert (second.since, second.seen) == (60, False)


def test_an_emptied_redis_kept_what_was_saved_before_in_the_same_life() -> None:
    marks = [Mark(15, 1), Mark(60, 1), Mark(25, 2), Mark(18, 1)]
    (loss,) = losses([a_life(0, 0, (1, 10, 12)), a_life(0, 50, pid=2)], marks, [])
    assert (loss.since, loss.seen) == (18, True)


def test_what_a_loss_had_undone_and_is_there_again_is_refused() -> None:
    lives = [a_life(0, 0, (1, 10, 12), (2, 20, 22)), a_life(1, 50, (3, 60, 62)), a_life(2, 90)]
    with pytest.raises(ReturnedError):
        losses(lives, [], [])


def test_a_snapshot_counts_if_it_was_whole_while_nobody_served() -> None:
    lives = [a_life(0, 0, (1, 10, 12), down=(30, 40)), a_life(1, 50)]
    snapshots = [Snapshot(8, {"p": 3, "q": 9}), Snapshot(35, {"p": 5}), Snapshot(45, {"p": 7})]
    (loss,) = losses(lives, [], snapshots)
    assert loss.committed == {"p": 5, "q": 9}


# The pairs and the examples


def test_every_fault_meets_every_other_and_itself() -> None:
    assert len(PAIRS) == len(FAULTS) * (len(FAULTS) + 1) // 2
    assert set(FAULTS) >= ONE_AFTER_THE_OTHER


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/*.jsonl")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_example_has_the_form_of_what_is_recorded(path: Path) -> None:
    operation = an_operation((10, 20, "ok"))
    recorded = {line["kind"]: set(line) for text in History().lines([A_LOSS], {}) for line in [json.loads(text)]}
    for kind in ("add", "set", "read"):
        operation.kind = kind
        recorded[kind] = set(encode(operation, ())[0])
    lines = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
    assert lines[0]["kind"] == "about"
    assert lines[0]["what"]
    for line in lines[1:]:
        assert set(line) <= recorded[line["kind"]]
