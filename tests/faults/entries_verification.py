"""Compare entries on boards after faults: rows in Postgres with the ledger, and what is answered with the rows."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import httpx

from leaderboard_core.boards import TIE_DIGITS, Rules
from tests.faults.answers import check_order, write_in
from tests.faults.boards import places_of
from tests.faults.ledger import Ledger, scope
from tests.faults.records import Violation
from tests.faults.system import SavedEntry

_PAGE = 1000
_SAMPLE, _NEIGHBOURS = 6, 3

Shown = tuple[str, int, int | None]
"""A row of a board as it is answered: user_id, score, and the write that its metadata are of."""


def check_rows(ledger: Ledger, rows: Sequence[SavedEntry]) -> list[str]:
    """List what differs from the ledger in the rows of entries."""
    found = [problem for row in rows if (problem := _wrong(ledger, row))]
    standing = {(row.user_id, row.board) for row in rows if not row.removed}
    for player in ledger.players.values():
        for record in player.entries.values():
            if record.must_exist(ledger.clock, "redis") and (record.user_id, record.board) not in standing:
                found.append(f"{record} of {player.region} was written and is missing in Postgres")
    return found


def _wrong(ledger: Ledger, row: SavedEntry) -> str:
    """Say what is wrong with a row; "" for nothing."""
    player = ledger.players.get(row.user_id)
    record = player and player.entries.get(row.board)
    if player is None or record is None or row.board_window != "all":
        return f"a row in Postgres that nobody wrote: {row}"
    if not row.home == row.region == player.region:
        return f"a row in the wrong place: {row}"
    if player.must_be_absent(ledger.clock, "redis"):
        return f"{player} was deleted, and an entry is left: {row}"
    if row.removed:
        return ""
    rules = ledger.boards[row.board]
    tie = row.member.removesuffix(row.user_id)
    digits = TIE_DIGITS if rules.ties == "earliest" else 0
    if not row.member.endswith(row.user_id) or len(tie) != digits or not (tie.isdigit() or not digits):
        return f"a wrong member: {row}"
    try:
        record.check_at(score_of(row, rules), ledger.clock, write=_write(row))
        if rules.max_submits and not player.leaves:  # a successor's are counted from the beginning
            record.check_submits(row.submits)
    except Violation as error:
        return f"{player.region}: {error}"
    return ""


async def check_boards(
    http: httpx.AsyncClient, ledger: Ledger, rows: Sequence[SavedEntry], rng: random.Random
) -> list[str]:
    """List what is answered of boards that is not what the rows say. Raises Violation for a wrong order, or OSError."""
    of_board: dict[str, list[SavedEntry]] = defaultdict(list)
    for row in rows:
        if not row.removed:
            of_board[row.board].append(row)
    found = []
    for board, rules in ledger.boards.items():
        for region in places_of(rules, ledger.regions):
            there = [row for row in of_board[board] if region in ("GLOBAL", row.region)]
            there.sort(key=lambda row: (row.key, row.member.encode()), reverse=True)
            wanted = [(row.user_id, score_of(row, rules), _write(row)) for row in there]
            answered = await whole_board(http, board, region, rules)
            shown = [(row["user_id"], row["score"], write_in(row)) for row in answered]
            if shown != wanted:
                differences = sorted(map(str, set(shown) ^ set(wanted)))
                found.append(f"{scope(board, region)} and Postgres differ: {differences[:10]} ({len(differences)})")
            else:
                found += await _check_places(http, board, region, rules, wanted, rng)
    players = rng.sample(list(ledger.players), min(_SAMPLE, len(ledger.players)))
    for user_id in players:
        found += await _check_entries(http, ledger, user_id, of_board)
    return found


async def whole_board(http: httpx.AsyncClient, board: str, region: str, rules: Rules) -> list[dict[str, Any]]:
    """Read a ranking from its top to its end, its order, ranks and positions checked.

    Raises Violation, and OSError while it is not read from Redis.
    """
    rows: list[dict[str, Any]] = []
    while True:
        params: dict[str, Any] = {"board": board, "region": region, "limit": _PAGE, "offset": len(rows)}
        answer = await http.get("/top", params=params | {"metadata": "true"})
        if answer.status_code != 200 or answer.headers["X-Leaderboard-Source"] != "redis":
            raise OSError(f"{scope(board, region)} is not served from redis: {answer.text[:200]}")
        page = answer.json()["rows"]
        rows += page
        if len(page) < _PAGE:
            break
    check_order(rows, first_rank=1, rules=rules)
    if [row["position"] for row in rows] != list(range(1, len(rows) + 1)):
        raise Violation(f"wrong positions on {scope(board, region)}: {[row['position'] for row in rows][:50]}")
    return rows


async def _check_places(
    http: httpx.AsyncClient, board: str, region: str, rules: Rules, rows: list[Shown], rng: random.Random
) -> list[str]:
    """Compare rank and neighbours of some players with the whole board."""
    found = []
    first = {score: index for index, (_, score, _) in reversed(list(enumerate(rows, start=1)))}
    for index in rng.sample(range(len(rows)), min(_SAMPLE, len(rows))):
        user_id, score, write = rows[index]
        params: dict[str, Any] = {"board": board, "region": region, "metadata": "true"}
        place = (await http.get(f"/rank/{user_id}", params=params)).json()
        rank = index + 1 if rules.ties == "earliest" else first[score]
        seen = (place["rank"], place["position"], place["score"], place["total"], write_in(place))
        if seen != (rank, index + 1, score, len(rows), write):
            found.append(f"rank of {user_id} on {scope(board, region)}: {place}, not {rank} of {len(rows)}")
        around = (await http.get(f"/around/{user_id}", params={**params, "range": _NEIGHBOURS})).json()["around"]
        wanted = [*rows[max(0, index - _NEIGHBOURS) : index], *rows[index + 1 : index + 1 + _NEIGHBOURS]]
        if [(row["user_id"], row["score"], write_in(row)) for row in around] != wanted:
            found.append(f"around {user_id} on {scope(board, region)}: {around}, not {wanted}")
    return found


async def _check_entries(
    http: httpx.AsyncClient, ledger: Ledger, user_id: str, of_board: dict[str, list[SavedEntry]]
) -> list[str]:
    """Compare a player's entries with their rows."""
    answer = (await http.get(f"/users/{user_id}/entries")).json()
    shown = {one["board"]: one["score"] for one in answer.get("entries", ()) if one["board"] in ledger.boards}
    wanted = {
        board: score_of(row, rules)
        for board, rules in ledger.boards.items()
        for row in of_board[board]
        if row.user_id == user_id
    }
    return [] if shown == wanted else [f"entries of {user_id}: {shown}, not {wanted}"]


def score_of(row: SavedEntry, rules: Rules) -> int:
    """Return the score that a row says."""
    return row.key if rules.order == "desc" else -row.key


def _write(row: SavedEntry) -> int | None:
    return json.loads(row.metadata)["write"] if row.metadata else None
