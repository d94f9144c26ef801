"""Verify a cluster after its faults: all healthy, queues empty, boards and rows as the ledger allows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import httpx

from tests.faults.answers import MAIN_RULES
from tests.faults.entries_verification import check_boards, check_rows, score_of, whole_board
from tests.faults.harness import Harness
from tests.faults.ledger import board_order, ranks
from tests.faults.records import MAIN, NEVER, Player, Violation
from tests.faults.system import REGIONS, SystemUnderTest

_SAMPLE = 12
_NEIGHBOURS = 3


async def verify(harness: Harness) -> None:
    """Wait until all is healthy and drained, then compare with the ledger. Raises Violation."""
    await settled(harness)
    problems: list[str] = []

    async def agrees() -> bool:
        # A write without an answer may still be in flight: only a difference that stays is a violation.
        problems[:] = await _problems(harness)
        return not problems

    try:
        await harness.until(agrees, "agreement with the ledger", seconds=20)
    except Violation as error:
        raise Violation("\n".join(problems) or str(error)) from None
    await consistent(harness)
    await harness.load.repeat_some(_SAMPLE)


async def settled(harness: Harness) -> None:
    """Wait until all is healthy and drained. Raises Violation."""
    await harness.healthy(*harness.system.cluster.state["pids"])
    await harness.drained()


async def consistent(harness: Harness) -> None:
    """Check by the system's own commands that Redis, Postgres and queues agree. Raises Violation."""
    code, output = await harness.system.command("verify")
    if code or " 0 differences" not in output:
        raise Violation(f"leaderboard verify ended with {code}:\n{output[-2000:]}")
    code, output = await harness.system.command("check-queue")
    if code:
        raise Violation(f"leaderboard check-queue ended with {code}:\n{output[-2000:]}")


async def saved_scores(system: SystemUnderTest) -> dict[tuple[str, str], int]:
    """Read every score in Postgres, by board and user_id."""
    scores = {(MAIN, user_id): score for region in REGIONS for user_id, _, _, score in await _rows(system, region)}
    for row in await system.saved_entries():
        if not row.removed:
            scores[row.board, row.user_id] = score_of(row, system.ledger.boards[row.board])
    return scores


async def _rows(system: SystemUnderTest, region: str) -> list[tuple[str, str, str, int]]:
    async with system.postgres(region) as connection:
        records = await connection.fetch("SELECT user_id, name, region, score FROM leaderboard")
    return [tuple(record) for record in records]


async def _problems(harness: Harness) -> list[str]:
    """List everything that differs from the ledger now."""
    system, ledger = harness.system, harness.system.ledger
    found: list[str] = []
    rows: dict[str, dict[str, int]] = {}
    for region in REGIONS:
        rows[region] = {}
        for user_id, name, home, saved in await _rows(system, region):
            player = ledger.players.get(user_id)
            if player is None or (player.name, player.region) != (name, region) or home != region:
                found.append(f"row of {region} in Postgres: {user_id}, {name}, {home}")
            rows[region][user_id] = saved
    entries = await system.saved_entries() if ledger.boards else []
    found += check_rows(ledger, entries)
    async with httpx.AsyncClient(base_url=system.cluster.url, timeout=40) as http:
        for region in REGIONS:
            expected = rows[region] if region != "GLOBAL" else {k: v for part in rows.values() for k, v in part.items()}
            rows_of_board = await whole_board(http, MAIN, region, MAIN_RULES)
            board = [(row["user_id"], row["score"]) for row in rows_of_board]
            if board != board_order(expected.items()):
                differences = sorted(set(board) ^ set(expected.items()))
                found.append(f"board of {region} and Postgres differ: {differences[:10]} ({len(differences)})")
        everybody = {user_id: score for part in rows.values() for user_id, score in part.items()}
        for player in ledger.players.values():
            score = everybody.get(player.user_id)
            if score is None:
                if player.created_at != NEVER:
                    found.append(f"{player.user_id} of {player.region} was created and is missing")
                continue
            try:
                player.check_at(score, ledger.clock)
            except Violation as error:
                found.append(f"{player.region}: {error}")
        if ledger.boards and not found:
            found += await check_boards(http, ledger, entries, harness.chaos.rng)
        if not found:
            with_secret = [one for one in ledger.players.values() if one.secret and one.user_id in everybody]
            found += await _check_secrets(http, harness.chaos.rng.sample(with_secret, min(_SAMPLE, len(with_secret))))
            found += await _check_ranks(http, rows, harness.chaos.rng)
    return found


async def _check_secrets(http: httpx.AsyncClient, players: Sequence[Player]) -> list[str]:
    """Log players in with the secrets of their registrations."""
    found = []
    for player in players:
        answer = await http.post("/auth/login", json={"user_id": player.user_id, "secret": player.secret})
        if answer.status_code != 200:
            found.append(f"{player.user_id} of {player.region} with its secret: {answer.status_code} {answer.text}")
    return found


async def _check_ranks(http: httpx.AsyncClient, rows: dict[str, dict[str, int]], rng: random.Random) -> list[str]:
    """Compare rank and neighbours of some players with a sort of the rows."""
    found = []
    for region in REGIONS:
        scores = rows[region] if region != "GLOBAL" else {k: v for part in rows.values() for k, v in part.items()}
        board = board_order(scores.items())
        places = ranks(board)
        for index in rng.sample(range(len(board)), min(_SAMPLE, len(board))):
            user_id = board[index][0]
            place = (await http.get(f"/rank/{user_id}", params={"region": region})).json()
            if (place["rank"], place["score"], place["total"]) != (places[index], board[index][1], len(board)):
                found.append(f"rank of {user_id} on {region}: {place}, not {places[index]} of {len(board)}")
            params: dict[str, Any] = {"region": region, "range": _NEIGHBOURS}
            around = (await http.get(f"/around/{user_id}", params=params)).json()["around"]
            first = max(0, index - _NEIGHBOURS)
            wanted = [
                (*board[at], places[at]) for at in range(first, min(len(board), index + _NEIGHBOURS + 1)) if at != index
            ]
            if [(row["user_id"], row["score"], row["rank"]) for row in around] != wanted:
                found.append(f"around {user_id} on {region}: {around}, not {wanted}")
    return found
