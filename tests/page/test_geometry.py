"""Test where things stand on the page at the widths of phones, tablets and desks, on each kind of board."""

from __future__ import annotations

from typing import Any

import pytest

from leaderboard_client import Client, Submission
from tests.page.browser import Page
from tests.page.conftest import Register

WIDTHS = (320, 390, 768, 1400)
MOST = 2**53 - 1

# The boxes of what a row shows, from left to right, and how far anything reaches out of the board.
MEASURE = """
    const box = (element) => element.getBoundingClientRect();
    const board = box(document.getElementById("board"));
    const drawn = (element) => {
        const range = document.createRange();
        range.selectNodeContents(element);
        return range.getBoundingClientRect();
    };
    const rows = [...document.querySelectorAll("#rows .row[data-user-id]")].map((row) => {
        const [rank, name, score] = [".place", ".name bdi", "td.score"].map((part) => drawn(row.querySelector(part)));
        return {
            row: [box(row).top, box(row).bottom],
            rank: [rank.left, rank.right, rank.top, rank.bottom],
            name: [box(row.querySelector(".name")).left, box(row.querySelector(".name")).right, name.top, name.bottom],
            score: [score.left, score.right, score.top, score.bottom],
        };
    });
    const headings = [...document.querySelectorAll("#rows thead th")].filter((one) => one.checkVisibility());
    return {
        board: [board.left, board.right],
        page: [document.documentElement.clientWidth, document.documentElement.scrollWidth],
        rows,
        headings: headings.map((one) => one.innerText),
        form: box(document.getElementById("play")).top + scrollY,
    };
"""


@pytest.fixture
def players(server: Client, register: Register, region: str) -> str:
    """Provide a board with namesakes, a huge score, zero and one below zero."""
    del register
    made = [Submission("huge", region, score=MOST, name="A name that is longer than a phone is wide, surely")]
    made += [Submission(f"namesake-{number}", region, score=100 - number, name="Same name") for number in range(2)]
    made += [Submission("zero", region, score=0, name="Zero"), Submission("low", region, score=-MOST, name="Low")]
    made += [Submission(f"crowd-{number:02}", region, score=number, name=f"Player {number}") for number in range(1, 31)]
    assert server.submit_many(made).ok
    return region


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("board", ["ARENA", "GLOBAL"])
def test_rank_name_and_score_stand_side_by_side_and_inside(page: Page, players: str, board: str, width: int) -> None:
    del players
    page.width(width)
    page.open(region=board).until_live().until(lambda: len(page.rows()) >= 10, "rows")
    found: dict[str, Any] = page.run(MEASURE)
    assert found["page"][0] == found["page"][1] == width, "nothing has to be scrolled sideways"
    assert found["headings"] == ["Rank", "Player", *(["Region"] if board == "GLOBAL" and width > 576 else []), "Score"]
    left, right = found["board"]
    bottom = 0.0
    for row in found["rows"]:
        assert row["row"][0] >= bottom - 1, "rows do not overlap"
        bottom = row["row"][1]
        for part in ("rank", "name", "score"):
            assert left <= row[part][0] <= row[part][1] <= right, part
            assert row["row"][0] <= row[part][2] <= row[part][3] <= row["row"][1] + 1, part
        assert row["rank"][1] <= row["name"][0]
        beside, under = row["name"][1] <= row["score"][0] + 1, row["name"][3] <= row["score"][2] + 1
        assert beside or (under and width <= 576)
    assert len({round(row["score"][1]) for row in found["rows"]}) == 1, "scores end in one line"


def test_on_a_phone_the_form_is_not_far_below_the_board(page: Page, players: str) -> None:
    page.width(390)
    page.open(region=players).until_live().until(lambda: len(page.rows()) == 10, "ten rows")
    page.until_text("#more", "Show the best 25")
    assert page.run(MEASURE)["form"] < 2 * 740


def test_ids_are_shown_only_beside_a_namesake(page: Page, players: str) -> None:
    page.open(region=players).until_live().until(lambda: len(page.rows()) == 25, "rows")
    ids = {user_id: page.cells(user_id)["id"] for user_id in page.rows()}
    assert {user_id: shown for user_id, shown in ids.items() if shown} == {
        "namesake-0": "namesake-0",
        "namesake-1": "namesake-1",
    }


def test_a_bar_has_a_track_where_a_large_score_leaves_it_no_length(page: Page, players: str) -> None:
    page.open(region=players).until_live().until(lambda: len(page.rows()) == 25, "rows")
    style = "const row = document.querySelector(`[data-user-id='${arguments[0]}']`);"
    bar = style + "return [getComputedStyle(row, '::before').width, getComputedStyle(row).backgroundImage]"
    widths = {user_id: page.run(bar, user_id) for user_id in ("huge", "namesake-0")}
    assert float(widths["huge"][0].removesuffix("px")) > 400
    assert float(widths["namesake-0"][0].removesuffix("px")) < 1
    assert widths["namesake-0"][1].startswith("linear-gradient")


def test_a_board_that_does_not_exist_is_said_and_not_shown_in_silence(page: Page, players: str) -> None:
    page.open(region="XX").until_live()
    page.until_text("#notice", "There is no board XX. This is GLOBAL.")
    page.click("#tab-EU")
    assert page.text("#notice") == ""
    page.open(region=players.lower()).until_live()
    assert (page.text("#notice"), page.text("#region")) == ("", players)
