"""Check single answers: the error envelope, and whether the board was possible."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import httpx

from tests.faults.ledger import Ledger, Source, Violation

_STATUSES = frozenset({200, 201, 404, 409, 429, 502, 503, 504})
_NOTHING_DONE = frozenset({"warming_up", "repartitioning", "rate_limited", "region_rate_limited", "queue_full"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API: status, JSON body, error code and the source of a read."""

    status: int
    body: dict[str, Any]
    source: Source

    @property
    def ok(self) -> bool:
        return self.status in (200, 201)

    @property
    def code(self) -> str:
        return str(self.body.get("error", ""))

    @property
    def changed_nothing(self) -> bool:
        """Tell whether a write with this answer certainly changed nothing by this attempt."""
        return self.code in _NOTHING_DONE


def read_answer(request: str, response: httpx.Response, *, more: Collection[int] = ()) -> Answer:
    """Parse an answer. Raises Violation for HTML, a 500 or an error outside of the envelope.

    `more` are statuses that are valid here besides the usual ones.
    """
    text = " ".join(response.text[:300].split())
    evidence = f"{request} -> {response.status_code} {response.headers.get('content-type')}: {text}"
    try:
        body = response.json()
    except ValueError:
        raise Violation(f"not JSON: {evidence}") from None
    if not isinstance(body, dict) or response.status_code not in {*_STATUSES, *more}:
        raise Violation(f"unexpected: {evidence}")
    if response.status_code >= 400 and not (body.get("error") and (body.get("message") or "found" in body)):
        raise Violation(f"not in the envelope: {evidence}")
    source: Source = "postgres" if response.headers.get("X-Leaderboard-Source") == "postgres" else "redis"
    return Answer(response.status_code, body, source)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the ledger knew when a read was sent; its answer is checked against that and what began since.

    One from Postgres is checked against what was known some seconds earlier, as it is of a snapshot.
    """

    ledger: Ledger
    board: str
    clocks: dict[Source, int]
    totals: dict[Source, int]

    @classmethod
    def now(cls, ledger: Ledger, board: str) -> Expectation:
        earlier = ledger.before_snapshot()
        clocks: dict[Source, int] = {"redis": ledger.clock, "postgres": earlier.clock}
        totals: dict[Source, int] = {"redis": ledger.there[board], "postgres": earlier.saved[board]}
        return cls(ledger, board, clocks, totals)

    def check_total(self, answer: Answer) -> None:
        """Check the total. Raises Violation when players are missing, or there are more than were ever created."""
        total, most = answer.body["total"], self.ledger.begun[self.board]
        least = self.totals[answer.source] - self.ledger.leaving[self.board]
        if not least <= total <= most:
            raise Violation(f"{self.board} from {answer.source} has {total} players, not {least} to {most}")
        if answer.source == "postgres":
            self.ledger.see_total(self.board, total)

    def check_row(self, answer: Answer, user_id: str, score: int) -> None:
        """Check a score. Raises Violation when it was impossible at every moment between request and answer."""
        player = self.ledger.players.get(user_id)
        if player is None:
            raise Violation(f"{user_id} was never created and is on {self.board}")
        try:
            found = player.check(score, player.floor(self.clocks[answer.source], answer.source))
        except Violation as error:
            raise Violation(f"read from {answer.source}: {error}") from None
        if answer.source == "postgres":
            self.ledger.saw_row(player, found)

    def check_missing(self, answer: Answer, user_id: str) -> None:
        """Check a 404. Raises Violation when the player must exist."""
        if self.ledger.players[user_id].must_exist(self.clocks[answer.source], answer.source):
            raise Violation(f"{user_id} exists and was not found: {answer.source} said {answer.body}")


def check_top(expected: Expectation, answer: Answer) -> None:
    """Check a page of /top: total, order, ranks and each score. Raises Violation."""
    expected.check_total(answer)
    check_order(answer.body["rows"], first_rank=1)
    for row in answer.body["rows"]:
        expected.check_row(answer, row["user_id"], row["score"])


def check_rank(expected: Expectation, answer: Answer, user_id: str) -> None:
    """Check an answer of /rank. Raises Violation."""
    if answer.status == 404:
        expected.check_missing(answer, user_id)
        return
    expected.check_total(answer)
    expected.check_row(answer, user_id, answer.body["score"])
    # Postgres is asked twice, and the player itself may rise in between.
    if not 1 <= answer.body["rank"] <= answer.body["total"] + (answer.source == "postgres"):
        raise Violation(f"{user_id} has rank {answer.body['rank']} of {answer.body['total']}")


def check_around(expected: Expectation, answer: Answer, user_id: str) -> None:
    """Check an answer of /around. Raises Violation."""
    if answer.status == 404:
        expected.check_missing(answer, user_id)
        return
    expected.check_total(answer)
    own, rows = answer.body["self"], answer.body["around"]
    if own["user_id"] != user_id or any(row["user_id"] == user_id for row in rows):
        raise Violation(f"around {user_id}: self is {own}, rows are {rows}")
    place = sum((row["score"], row["user_id"].encode()) > (own["score"], user_id.encode()) for row in rows)
    check_order([*rows[:place], own, *rows[place:]], first_rank=None)
    for row in (own, *rows):
        expected.check_row(answer, row["user_id"], row["score"])


def check_order(rows: list[dict[str, Any]], first_rank: int | None) -> None:
    """Check board order and standard competition ranks, the first rank as given. Raises Violation."""
    for index, row in enumerate(rows):
        if index == 0:
            wrong = first_rank is not None and row["rank"] != first_rank
        else:
            before = rows[index - 1]
            tie = before["score"] == row["score"]
            wrong = (before["score"], before["user_id"].encode()) <= (row["score"], row["user_id"].encode())
            # The first row may be in the middle of a tie, so only inside the page ranks can be counted.
            wrong = wrong or (row["rank"] == before["rank"]) != tie
            wrong = wrong or (first_rank == 1 and not tie and row["rank"] != index + 1)
        if wrong:
            raise Violation(f"wrong order or ranks at row {index}: {rows[max(0, index - 1) : index + 1]}")
