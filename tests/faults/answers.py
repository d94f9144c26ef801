"""Check single answers: the error envelope, and whether the board was possible."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from leaderboard_core.boards import Rules
from tests.faults.boards import places_of
from tests.faults.ledger import Ledger, scope
from tests.faults.records import MAIN, Player, Record, Source, Violation

_STATUSES = frozenset({200, 201, 404, 409, 429, 502, 503, 504})
_NOTHING_DONE = frozenset({"warming_up", "repartitioning", "rate_limited", "region_rate_limited", "queue_full"})
_UNCLEAR = "unavailable"
MAIN_RULES = Rules()


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

    def results(self, count: int) -> Sequence[Answer]:
        """Return the answer to each of `count` scores that were sent together. Raises Violation.

        What refuses one of them may be no more than that there is no answer now.
        """
        if not self.ok:
            return [self] * count
        results = [Answer(200 if body["ok"] else 503, body, self.source) for body in self.body["results"]]
        wrong = [one.body for one in results if not one.ok and one.code not in {*_NOTHING_DONE, _UNCLEAR}]
        if len(results) != count or wrong:
            raise Violation(f"{count} scores were sent, and the answer is {self.body}")
        return results


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
    """What the ledger knew when a read of a ranking was sent; its answer is checked against that and what began since.

    One from Postgres is checked against what was known some seconds earlier, as it is of a snapshot.
    """

    ledger: Ledger
    board: str
    region: str
    clocks: dict[Source, int]
    totals: dict[Source, int]

    @classmethod
    def now(cls, ledger: Ledger, region: str, board: str = MAIN) -> Expectation:
        earlier, name = ledger.before_snapshot(), scope(board, region)
        clocks: dict[Source, int] = {"redis": ledger.clock, "postgres": earlier.clock}
        totals: dict[Source, int] = {"redis": ledger.there[name], "postgres": earlier.saved[name]}
        return cls(ledger, board, region, clocks, totals)

    @property
    def name(self) -> str:
        return scope(self.board, self.region)

    @property
    def rules(self) -> Rules:
        return self.ledger.boards[self.board] if self.board != MAIN else MAIN_RULES

    def check_total(self, source: Source, total: int) -> None:
        """Check the total. Raises Violation when players are missing, or there are more than were ever created."""
        most = self.ledger.begun[self.name]
        least = self.totals[source] - self.ledger.leaving[self.name]
        if not least <= total <= most:
            raise Violation(f"{self.name} from {source} has {total} players, not {least} to {most}")
        if source == "postgres":
            self.ledger.see_total(self.name, total)

    def check_row(self, source: Source, user_id: str, row: dict[str, Any]) -> None:
        """Check a score. Raises Violation when it was impossible at every moment between request and answer."""
        record = self.record_of(user_id)
        if record is None:
            raise Violation(f"{user_id} was never written to {self.name} and is there")
        name = self.ledger.players[user_id].name
        if row.get("name", name) != name:
            raise Violation(f"{record} is called {row['name']}, not {name}: read from {source}")
        try:
            found = record.check_at(row["score"], self.clocks[source], source, write=write_in(row))
        except Violation as error:
            raise Violation(f"read from {source}: {error}") from None
        if source == "postgres":
            self.ledger.saw_row(record, found)

    def check_missing(self, answer: Answer, user_id: str) -> None:
        """Check a 404. Raises Violation when the player, or its entry, must exist."""
        records = [self.record_of(user_id)]
        if answer.code == "user_not_found":
            records.append(self.ledger.players[user_id])
        for record in records:
            if record is not None and record.must_exist(self.clocks[answer.source], answer.source):
                raise Violation(f"{record} exists and was not found: {answer.source} said {answer.body}")

    def record_of(self, user_id: str) -> Record | None:
        """Return the record of a player on this board; None when nothing was ever written."""
        player = self.ledger.players.get(user_id)
        return player if player is None or self.board == MAIN else player.entries.get(self.board)


def write_in(row: dict[str, Any]) -> int | None:
    """Return the number of the write that a row's metadata are of, where it says that."""
    return (row.get("metadata") or {}).get("write")


def check_top(expected: Expectation, answer: Answer) -> None:
    """Check a page of /top: total, order, ranks and each score. Raises Violation."""
    expected.check_total(answer.source, answer.body["total"])
    check_order(answer.body["rows"], first_rank=1, rules=expected.rules)
    for row in answer.body["rows"]:
        expected.check_row(answer.source, row["user_id"], row)


def check_rank(expected: Expectation, answer: Answer, user_id: str) -> None:
    """Check an answer of /rank. Raises Violation."""
    if answer.status == 404:
        expected.check_missing(answer, user_id)
        return
    expected.check_total(answer.source, answer.body["total"])
    expected.check_row(answer.source, user_id, answer.body)
    # Postgres is asked twice, and the player itself may rise in between.
    if not 1 <= answer.body["rank"] <= answer.body["total"] + (answer.source == "postgres"):
        raise Violation(f"{user_id} has rank {answer.body['rank']} of {answer.body['total']}")


def check_around(expected: Expectation, answer: Answer, user_id: str) -> None:
    """Check an answer of /around. Raises Violation."""
    if answer.status == 404:
        expected.check_missing(answer, user_id)
        return
    expected.check_total(answer.source, answer.body["total"])
    own, rows = answer.body["self"], answer.body["around"]
    if own["user_id"] != user_id or any(row["user_id"] == user_id for row in rows):
        raise Violation(f"around {user_id}: self is {own}, rows are {rows}")
    rules = expected.rules
    if rules.ties == "earliest":
        place = sum(row["position"] < own["position"] for row in rows)
    else:
        place = sum(_place(row, rules) > _place(own, rules) for row in rows)
    check_order([*rows[:place], own, *rows[place:]], first_rank=None, rules=rules)
    for row in (own, *rows):
        expected.check_row(answer.source, row["user_id"], row)


def expect_entries(ledger: Ledger, player: Player) -> list[Expectation]:
    """Return what must be in an answer of /users/{user_id}/entries that is asked for now."""
    boards = {MAIN: MAIN_RULES, **ledger.boards}
    return [
        Expectation.now(ledger, region, board)
        for board, rules in boards.items()
        for region in sorted({player.region, "GLOBAL"} & set(places_of(rules, ledger.regions)))
    ]


def check_entries(expected: Sequence[Expectation], answer: Answer, user_id: str) -> None:
    """Check an answer of /users/{user_id}/entries: what is there, and what is not. Raises Violation."""
    entries = {entry["board"]: entry for entry in answer.body.get("entries", ())}
    for one in expected:
        entry = entries.get(one.board)
        if entry is None:
            one.check_missing(answer, user_id)
            continue
        one.check_row(answer.source, user_id, entry)
        standing = entry["ranks"].get(one.region)
        if standing is None:
            raise Violation(f"{user_id} has no rank on {one.name}: {answer.source} said {answer.body}")
        one.check_total(answer.source, standing["total"])
    if unknown := entries.keys() - {one.board for one in expected}:
        raise Violation(f"{user_id} is on {unknown}: {answer.source} said {answer.body}")


def _place(row: dict[str, Any], rules: Rules) -> tuple[int, bytes]:
    """Return what is greater of a row that stands higher, where ties share a rank."""
    return row["score"] * (1 if rules.order == "desc" else -1), row["user_id"].encode()


def check_order(rows: list[dict[str, Any]], first_rank: int | None, rules: Rules = MAIN_RULES) -> None:
    """Check board order and ranks, the first rank as given. Raises Violation.

    They are standard competition ranks, or where ties go to the earliest, whose times rows do not say, positions.
    """
    for index, row in enumerate(rows):
        if index == 0:
            wrong = first_rank is not None and row["rank"] != first_rank
        else:
            before = rows[index - 1]
            tie = before["score"] == row["score"]
            if rules.ties == "earliest":
                wrong = _place(before, rules)[0] < _place(row, rules)[0] or row["rank"] != before["rank"] + 1
            else:
                wrong = _place(before, rules) <= _place(row, rules)
                # The first row may be in the middle of a tie, so only inside the page ranks can be counted.
                wrong = wrong or (row["rank"] == before["rank"]) != tie
                wrong = wrong or (first_rank == 1 and not tie and row["rank"] != index + 1)
        if wrong:
            raise Violation(f"wrong order or ranks at row {index}: {rows[max(0, index - 1) : index + 1]}")
