"""Test the live board: scores sent by the API appear on an open page, and rows move."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from leaderboard_core.boards import MAIN
from leaderboard_service.boards.ranking import RankedRow
from leaderboard_service.boards.rows import rows_as_json
from leaderboard_service.live.content import changes
from tests.page.browser import Page
from tests.page.conftest import REGIONS, Register, set_score

# Records each animated row, and the distance of its move.
WATCH_MOTION = """
    window.motion = [];
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (steps, options) {
        if (steps[0].transform) motion.push([this.dataset.userId, parseFloat(steps[0].transform.slice(11))]);
        return animate.call(this, steps, options);
    };
    window.opened = "once";
    for (const row of document.querySelectorAll("#rows .row")) row.mark = row.dataset.userId;
"""


def test_a_score_appears_without_a_reload_and_the_row_moves_up(page: Page, register: Register, region: str) -> None:
    best, middle, last = (register(region, score) for score in (300, 200, 100))
    page.open(region=region).until_live().until_rows(best.user_id, middle.user_id, last.user_id)
    page.run(WATCH_MOTION)
    set_score(last, 1250)
    page.until_rows(last.user_id, best.user_id, middle.user_id)
    shown = page.cells(last.user_id)
    assert (shown["rank"], shown["score"]) == ("1", "1,250")
    assert page.text(f'[data-user-id="{last.user_id}"] .rise').split() == ["up", "2"]
    assert [page.cells(player.user_id)["rank"] for player in (best, middle)] == ["2", "3"]
    moved = {user_id: distance for user_id, distance in page.run("return motion") if distance}
    assert moved[last.user_id] > 60, "it came from below"
    assert moved[best.user_id] < -30
    assert moved[middle.user_id] < -30
    # The same document, and the same rows: nothing was rendered again.
    assert page.run("return opened") == "once"
    assert page.run(
        "return [...document.querySelectorAll('#rows .row')].every((row) => row.mark === row.dataset.userId)"
    )


def test_players_come_and_ties_share_a_rank(page: Page, register: Register, region: str) -> None:
    first = register(region, 50, user_id="tie-a")
    page.open(region=region).until_live().until_rows("tie-a")
    register(region, 50, user_id="tie-b")
    register(region, 30, user_id="tie-c")
    # Equal scores come in descending order of their ids.
    page.until_rows("tie-b", "tie-a", "tie-c")
    assert [page.cells(user_id)["rank"] for user_id in ("tie-b", "tie-a", "tie-c")] == ["1", "1", "3"]
    page.until_text("#total", "3 players")
    set_score(first, 51)
    page.until_rows("tie-a", "tie-b", "tie-c")
    page.until(lambda: page.cells("tie-b")["rank"] == "2", "its new rank")


def test_rows_stand_still_for_who_wants_less_motion(page: Page, register: Register, region: str) -> None:
    best, last = register(region, 20), register(region, 10)
    page.prefer(reduced_motion="reduce")
    page.open(region=region).until_live().until_rows(best.user_id, last.user_id)
    page.run(WATCH_MOTION)
    set_score(last, 30)
    page.until_rows(last.user_id, best.user_id)
    assert page.run("return motion") == []
    assert (
        page.run("return document.getAnimations().filter((a) => a.playState === 'running' && a.animationName).length")
        == 0
    )


def test_an_empty_board_says_how_to_fill_it(page: Page, register: Register, region: str) -> None:
    page.open(region=region).until_live()
    page.until_text("#empty", "Nobody is on this board yet")
    assert "leaderboard seed" in page.text("#empty")
    assert page.text("#total") == "0 players"
    player = register(region, 1)
    page.until_rows(player.user_id)
    assert page.text("#empty") == ""


def test_more_rows_are_shown_when_asked_for(page: Page, register: Register, region: str) -> None:
    players = [register(region, score) for score in range(27)]
    page.open(region=region).until_live().until(lambda: len(page.rows()) == 25, "the best 25")
    page.until_text("#more", "Show the best 50")
    page.click("#more")
    page.until_rows(*(player.user_id for player in reversed(players)))
    assert page.text("#more") == ""


def test_the_boards_are_the_servers_and_tabs_go_by_keyboard(page: Page) -> None:
    keys = {"left": "\ue012", "right": "\ue014", "home": "\ue011", "end": "\ue010"}
    page.open().until_live()
    assert page.run("return [...document.querySelectorAll('[role=tab]')].map((tab) => tab.textContent)") == list(
        REGIONS
    )
    assert chosen(page) == "GLOBAL"
    page.run("document.getElementById('tab-GLOBAL').focus()")
    walk = (
        ("left", "NA"),
        ("left", "EU"),
        ("home", "ASIA"),
        ("left", "ARENA"),
        ("right", "ASIA"),
        ("end", "ARENA"),
        ("right", "ASIA"),
    )
    for key, wanted in walk:
        page.press(keys[key])
        assert (chosen(page), page.focused()) == (wanted, f"tab-{wanted}"), key
        assert page.run("return document.getElementById('panel').getAttribute('aria-labelledby')") == f"tab-{wanted}"
        page.until_text("#region", wanted)
        page.until_live()
        assert f"region={wanted}" in page.run("return location.search")
    # One tab is in the tab order, the chosen one.
    assert (
        page.run("return [...document.querySelectorAll('[role=tab]')].filter((tab) => tab.tabIndex === 0).length") == 1
    )


def chosen(page: Page) -> str:
    script = (
        "return [...document.querySelectorAll('[role=tab][aria-selected=true]')].map((tab) => tab.textContent).join()"
    )
    return str(page.run(script))


def test_what_events_do_to_a_board_is_what_the_server_means(page: Page) -> None:
    """The change that the server computes of two boards turns the first into the second."""
    chance = random.Random(5)
    boards = [random_board(chance) for _ in range(60)]
    steps: list[tuple[str, dict[str, Any]]] = [("snapshot", shown(boards[0]))]
    for before, after in itertools.pairwise(boards):
        found = changes(before, after)
        rows = rows_as_json(MAIN, found.rows)
        steps.append(("change", {**shown(after), "rows": rows, "removed": found.removed}))
    script = """
        const done = arguments[arguments.length - 1];
        import("/assets/rows.js").then(({ afterEvent }) => {
            let board = null;
            done(arguments[0].map(([kind, data]) => (board = afterEvent(board, kind, data)).rows));
        });
    """
    page.open()
    drawn = page.driver.execute_async_script(script, steps)
    assert drawn == [shown(board)["rows"] for board in boards]


def random_board(chance: random.Random) -> list[RankedRow]:
    players = chance.sample([f"player-{number}" for number in range(14)], chance.randint(0, 12))
    return [RankedRow(rank, rank, name, name, "EU", chance.randint(0, 9)) for rank, name in enumerate(players, 1)]


def shown(board: list[RankedRow]) -> dict[str, Any]:
    return {"region": "EU", "total": len(board), "source": "redis", "rows": rows_as_json(MAIN, board)}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_chosen_theme_is_remembered(page: Page, theme: str) -> None:
    other = {"light": "dark", "dark": "light"}[theme]
    page.prefer(color_scheme=theme)
    page.open().until_live()
    before = background(page)
    page.click("#theme")
    assert background(page) != before
    changed = background(page)
    page.open().until_live()
    assert background(page) == changed
    assert (
        page.run("return document.getElementById('theme').getAttribute('aria-pressed')") == str(other == "dark").lower()
    )
    page.click("#theme")
    assert background(page) == before
    # Back on the system's own theme, the page follows the system again.
    page.prefer(color_scheme=other)
    assert background(page) == changed


def background(page: Page) -> str:
    return str(page.run("return getComputedStyle(document.body).backgroundColor"))
