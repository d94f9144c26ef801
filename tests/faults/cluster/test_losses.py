"""Test what counts lost and doubled writes."""

from __future__ import annotations

import pytest

from tests.faults.boards import BOARDS
from tests.faults.cluster.losses import CountingLedger, Losses
from tests.faults.records import Outcome

DONE, UNKNOWN = Outcome.ACKNOWLEDGED, Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("adds", "score", "lost", "doubled"),
    [
        (True, 1 + 16, 0, 0),
        (True, 1 + 4 + 16, 0, 0),
        (True, 16, 1, 0),
        (True, 0, 2, 0),
        (True, None, 3, 0),
        (True, 2 + 16, 0, 1),
        (True, 8, 2, 1),
        (False, 3, 0, 0),
        (False, 2, 0, 0),  # the unknown one may have come late
        (False, 1, 1, 0),
        (False, 0, 2, 0),
        (False, None, 3, 0),
    ],
)
def test_losses(adds: bool, score: int | None, lost: int, doubled: int) -> None:
    ledger = CountingLedger(("EU", "GLOBAL"), 6)
    player = ledger.new_player("p", "P", "EU", adds=adds)
    ledger.created(player)
    for outcome in (DONE, UNKNOWN, DONE):
        ledger.settle(player, player.begin(), outcome)
    found = ledger.losses({} if score is None else {("main", "p"): score})
    assert found == Losses(acknowledged=3, lost=lost, doubled=doubled)


@pytest.mark.parametrize(
    ("board", "score", "lost", "doubled"),
    [
        ("coins", 1 + 16, 0, 0),
        ("coins", 1, 1, 0),
        ("coins", 2 + 16, 0, 1),
        ("coins", None, 2, 0),
        ("laps", 78, 0, 0),
        ("laps", 80, 2, 0),
        ("laps", None, 2, 0),
    ],
)
def test_losses_of_entries(board: str, score: int | None, lost: int, doubled: int) -> None:
    ledger = CountingLedger(("EU", "GLOBAL"), 6)
    ledger.boards = BOARDS
    player = ledger.new_player("p", "P", "EU", adds=True)
    ledger.created(player)
    entry = ledger.entry(player, board)
    for outcome in (DONE, UNKNOWN, DONE):
        ledger.settle(entry, entry.begin(), outcome)
    scores = {("main", "p"): 0} | ({} if score is None else {(board, "p"): score})
    assert ledger.losses(scores) == Losses(acknowledged=3, lost=lost, doubled=doubled)
    ledger.begin_removal(entry)
    ledger.removed(entry)
    assert ledger.losses({("main", "p"): 0}).lost == 0


def test_a_player_whose_creation_had_no_answer_may_be_missing() -> None:
    ledger = CountingLedger(("EU", "GLOBAL"), 6)
    ledger.new_player("p", "P", "EU", adds=True)
    ledger.new_player("q", "Q", "EU", adds=False)
    assert ledger.losses({}) == Losses(0, 0, 0)
