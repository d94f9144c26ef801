"""Test the form that makes boards, for who has an administrator's token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from leaderboard_client import Client, NotFound
from tests.acceptance.cluster import LocalCluster
from tests.page.browser import Page
from tests.page.conftest import REGIONS
from tests.page.server import token
from tests.page.test_boards import offered
from tests.page.test_names import sticking_out


@pytest.fixture
def board(admin: Client) -> Iterator[str]:
    """Provide a name that no board has after the test."""
    yield "made"
    with suppress(NotFound):
        admin.delete_board("made")


def enter(page: Page, secret: str) -> None:
    page.click("#admin-open")
    assert page.focused() == "admin-token"
    page.fill("#admin-token", secret)
    page.click("#admin-enter button[type=submit]")


def choose(page: Page, field: str, value: str) -> None:
    Select(page.driver.find_element(By.ID, f"define-{field}")).select_by_value(value)


def state(page: Page) -> None:
    page.click("#define button[type=submit]")


def at_field(page: Page, field: str) -> str:
    """Return what is said at a field, to which the field itself refers."""
    told = page.run(
        "return document.getElementById(arguments[0]).getAttribute('aria-describedby') ?? ''", f"define-{field}"
    )
    return page.text(f"#{told}") if told else ""


def test_a_board_is_made_changed_and_shown(page: Page, admin: Client, board: str) -> None:
    page.open().until_live()
    assert page.text("#admin") == ""
    enter(page, str(admin.token))
    assert page.focused() == "define-board"
    kept = "return [Object.keys(localStorage), Object.values({ ...localStorage }).join(), Object.keys(sessionStorage)]"
    local, values, session = page.run(kept)
    assert "leaderboard.admin" in session
    assert "leaderboard.admin" not in local
    assert str(admin.token) not in values
    page.fill("#define-board", board)
    page.fill("#define-title", "Made <b>here")
    for field, value in (("operator", "best"), ("order", "asc"), ("ties", "earliest"), ("regions", "false")):
        choose(page, field, value)
    page.fill("#define-decimals", "2")
    page.fill("#define-min", "-1,000")
    page.fill("#define-max", "90000")
    page.fill("#define-metadata", "64")
    state(page)
    page.until_text("#define-message", "The board Made <b>here is made.")
    assert offered(page) == ["main", "Made <b>here"]
    rules = admin.board_definition(board).definition
    wanted = {"title": "Made <b>here", "operator": "best", "order": "asc", "ties": "earliest", "regions": False}
    wanted |= {"decimals": 2, "min_score": -1000, "max_score": 90_000, "metadata_bytes": 64, "submit": "player"}
    assert {name: rules[name] for name in wanted} == wanted
    # What the form has no field for stays; what is emptied is as at the beginning.
    admin.define_board(board, {**rules, "max_submits": 5})
    page.fill("#define-min", "")
    choose(page, "submit", "server")
    assert page.text("#define button[type=submit]") == "Change the board"
    state(page)
    page.until_text("#define-message", "is changed.")
    changed = admin.board_definition(board).definition
    assert (changed["max_submits"], changed["min_score"], changed["submit"]) == (5, -(2**53) + 1, "server")
    page.click("#define-message button")
    page.until_text("#board-name", "Made <b>here")
    # It lasts as long as the tab, until it is to be forgotten.
    page.driver.refresh()
    page.until_live().until_text("#define", "Forget the token")
    page.click("#admin-leave")
    assert page.focused() == "admin-token"
    assert page.run("return sessionStorage.getItem('leaderboard.admin')") is None


def test_what_the_api_refuses_is_said_at_its_field(page: Page, admin: Client, board: str) -> None:
    admin.define_board(board, {"operator": "sum", "max_step": 9})
    page.allowed += ["409", "422"]
    page.open().until_live()
    enter(page, str(admin.token))
    page.fill("#define-board", "No Name")
    state(page)
    page.until(lambda: "a letter or digit first" in at_field(page, "board"), "a mistake at the name")
    # The rules of a board that is there come first: nobody overwrites them unseen.
    page.fill("#define-board", board)
    page.press("\ue004")
    page.until(lambda: page.run("return document.getElementById('define-operator').value") == "sum", "its rules")
    choose(page, "operator", "best")
    state(page)
    page.until(lambda: "cannot be changed" in at_field(page, "operator"), "the fixed field")
    assert page.focused() == "define-operator"
    choose(page, "operator", "sum")
    page.fill("#define-decimals", "7")
    page.fill("#define-metadata", "4000")
    state(page)
    page.until(lambda: at_field(page, "decimals") and at_field(page, "metadata"), "both fields")
    assert (page.focused(), at_field(page, "operator")) == ("define-metadata", "")
    page.fill("#define-decimals", "x")
    state(page)
    page.until(lambda: "A whole number" in at_field(page, "decimals"), "the mistake")
    assert at_field(page, "metadata") == ""
    page.fill("#define-decimals", "1")
    page.fill("#define-metadata", "")
    page.fill("#define-min", "5")
    page.fill("#define-max", "4")
    state(page)
    page.until(lambda: "above max_score" in at_field(page, "min"), "what contradicts itself")
    assert admin.board_definition(board).version == 1


def test_a_board_that_came_meanwhile_is_not_overwritten_unseen(page: Page, admin: Client, board: str) -> None:
    page.open().until_live()
    enter(page, str(admin.token))
    page.fill("#define-board", board)
    page.press("\ue004")
    admin.define_board(board, {"title": "Theirs", "max_step": 9})
    state(page)
    page.until(lambda: "It is there already" in at_field(page, "board"), "the warning")
    assert page.run("return document.getElementById('define-title').value") == "Theirs"
    state(page)
    page.until_text("#define-message", "The board Theirs is changed.")
    assert admin.board_definition(board).definition["max_step"] == 9


def test_a_token_that_may_not_is_forgotten(page: Page, cluster: LocalCluster, board: str) -> None:
    page.allowed += ["401", "403"]
    page.open().until_live()
    enter(page, "no token")
    page.until_text("#admin-enter-message", "three parts of a token")
    for secret in ("e30.e30.nobody", token(cluster, "server", REGIONS=",".join(REGIONS))):
        page.fill("#admin-token", secret)
        page.click("#admin-enter button[type=submit]")
        page.fill("#define-board", board)
        state(page)
        page.until_text("#admin-enter-message", "This token may not make boards")
        assert page.run("return sessionStorage.getItem('leaderboard.admin')") is None
    assert offered(page) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_form_stays_inside(page: Page, admin: Client, width: int) -> None:
    page.width(width)
    page.open().until_live()
    enter(page, str(admin.token))
    page.until_text("#define", "Make the board")
    state(page)
    page.until(lambda: at_field(page, "board"), "a mistake")
    assert sticking_out(page) == []
