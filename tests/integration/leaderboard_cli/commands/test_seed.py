"""Test `leaderboard seed`: demo players through the API, and a plain message when that fails."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.conftest import Start
from tests.integration.api_gateway.support import refusing_port
from tests.support.command import run_command
from tests.support.service import SECRET


async def seed(*words: str, secret: str = SECRET) -> tuple[int | None, str, str]:
    """Return exit code, output and error output, on one line each."""
    return await run_command("seed", *words, JWT_SECRET=secret)


async def test_players_of_every_region_and_again_with_other_scores(start: Start) -> None:
    # A low region limit: what it refuses is sent again.
    api = await start(REGION_RATE_LIMIT_PER_SEC=100)
    url = str(api.http.base_url)
    code, output, complaint = await seed("450", "--url", url)
    assert code == 0, complaint
    assert "450 players are on the boards" in output
    assert "450/450" in complaint
    first = await api.top()
    assert first["total"] == 450
    assert Counter(row["region"] for row in first["rows"]) == {"ASIA": 113, "EU": 113, "NA": 112, "GLOBAL": 112}
    assert (await seed("450", "--url", url))[0] == 0
    second = await api.top()
    assert second["total"] == 450
    assert second["rows"] != first["rows"]


async def test_removing_takes_the_demo_players_and_nobody_else(start: Start) -> None:
    api = await start()
    url = str(api.http.base_url)
    own = {"demo-009000": "Amber", "demo-0000012": "Bold Wolf 12", "demo-1": "Bold Wolf 1", "ada": "Keen Lynx 3"}
    for user_id, name in own.items():
        await api.register(user_id, "EU", name=name)
    code, output, _ = await seed("--remove", "--url", url)
    assert (code, output) == (0, "There are no demo players.")
    # More than a page of the board.
    assert (await seed("1050", "--url", url))[0] == 0
    code, output, complaint = await seed("--remove", "--url", url)
    assert (code, output) == (0, "1050 demo players were deleted"), complaint
    assert "1050/1050" in complaint
    assert set(await api.scores()) == set(own)


async def test_demo_scores_keep_to_the_limits(start: Start) -> None:
    limits = {"MIN_SCORE": "900", "MAX_SCORE": "1000"}
    api = await start(**limits)
    code, _, complaint = await run_command("seed", "40", "--url", str(api.http.base_url), JWT_SECRET=SECRET, **limits)
    assert code == 0, complaint
    scores = (await api.scores()).values()
    assert (len(scores), min(scores), max(scores)) == (40, 900, 1000)


async def test_demo_scores_of_a_board_keep_to_its_limits(start: Start) -> None:
    api = await start()
    url = str(api.http.base_url)
    rules = {"operator": "best", "order": "asc", "min_score": 900, "max_score": 1000}
    assert (await api.define(rules, "laps")).status_code == 201
    code, output, complaint = await seed("40", "--board", "laps", "--url", url)
    assert code == 0, complaint
    assert "&board=laps" in output
    found = (await api.get("/top", board="laps")).json()
    assert (found["total"], found["rows"][0]["score"] >= 900, found["rows"][-1]["score"] <= 1000) == (40, True, True)
    assert set((await api.scores()).values()) == {0}
    await api.define({"operator": "sum", "max_step": 10}, "coins")
    for _ in range(2):
        code, _, complaint = await seed("40", "--board", "coins", "--url", url)
        assert code == 0, complaint
    code, _, complaint = await seed("40", "--board", "speed-run", "--url", url)
    assert (code, "There is no such board" in complaint) == (1, True)


async def test_removing_takes_no_number() -> None:
    code, _, complaint = await seed("5", "--remove")
    assert code == 2
    assert "leave the number" in complaint


async def test_a_system_that_is_not_there_is_told_at_once() -> None:
    with refusing_port() as port:
        async with asyncio.timeout(25):
            code, _, complaint = await seed("10", "--url", f"http://127.0.0.1:{port}")
    assert code == 1
    assert f"Cannot reach http://127.0.0.1:{port}" in complaint
    assert "leaderboard_cli up', or give --url" in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize("players", ["1", "250"])
async def test_a_token_of_another_system_is_refused_in_its_words(start: Start, players: str) -> None:
    api = await start()
    code, _, complaint = await seed(players, "--url", str(api.http.base_url), secret="9d41c6e0b27f83a5140c9e6bd87a23f5")
    assert code == 1
    assert "invalid_token" in complaint
    assert "Traceback" not in complaint
