"""Test named boards on the page: the picker, what is shown of a board and of its players, and what is sent to it."""

from __future__ import annotations

import httpx
import pytest

from leaderboard_client import Client
from tests.acceptance.conftest import Player
from tests.page.browser import Page
from tests.page.conftest import REGIONS, Define, Register
from tests.page.test_account import send
from tests.page.test_names import sticking_out
from tests.page.test_player import figures, neighbours

LAPS = {"title": "Fastest laps", "operator": "best", "order": "asc", "ties": "earliest", "decimals": 3}


def offered(page: Page) -> list[str]:
    """Return what the picker offers; nothing while it is not shown."""
    if not page.run("return document.getElementById('boards').checkVisibility()"):
        return []
    found: list[str] = page.run(
        "return [...document.getElementById('board-pick').options].map((option) => option.textContent)"
    )
    return found


def pick(page: Page, name: str) -> None:
    """Choose a board as somebody would with the keyboard."""
    page.run(
        """
        const picker = document.getElementById("board-pick");
        picker.value = arguments[0];
        picker.dispatchEvent(new Event("change", { bubbles: true }));
        """,
        name,
    )


def look_up(page: Page) -> None:
    """Come back to the page: it asks anew which boards there are, when it has not just done so."""
    page.run("document.dispatchEvent(new Event('visibilitychange'))")


def until_offered(page: Page, *wanted: str) -> None:
    def look() -> bool:
        look_up(page)
        return offered(page) == list(wanted)

    page.until(look, f"the boards {wanted}")


def address(page: Page) -> str:
    return str(page.run("return location.search"))


def submit(player: Player, board: str, score: int) -> None:
    answer = player.http.post("/score/update", json={"board": board, "score": score})
    assert answer.status_code == 200, answer.text


def sign_in(page: Page, player: Player) -> None:
    """Enter as a player, as the form would have."""
    me = {"user_id": player.user_id, "name": "Me", "region": player.region, "token": player.token}
    page.run("sessionStorage.setItem('leaderboard.me', JSON.stringify(arguments[0]))", me)
    page.driver.refresh()
    page.until_live().until_text("#me-name", "Me")


def share(page: Page, user_id: str) -> float:
    script = """
        const row = document.querySelector(`#rows [data-user-id="${CSS.escape(arguments[0])}"]`);
        return parseFloat(row.style.getPropertyValue("--share"));
    """
    return float(page.run(script, user_id))


def test_the_picker_is_there_once_there_is_more_than_main_and_leads_to_a_board(
    page: Page, register: Register, region: str, define: Define
) -> None:
    first, second, absent = (register(region, score) for score in (1, 2, 3))
    page.open(region=region).until_live()
    page.until_rows(absent.user_id, second.user_id, first.user_id)
    assert offered(page) == []
    laps = define("laps", **LAPS)
    define("quiet", regions=False)
    submit(first, laps, 71_350)
    submit(second, laps, 1_142_700)
    until_offered(page, "main", "Fastest laps", "quiet")
    pick(page, "laps")
    page.until_live().until_rows(first.user_id, second.user_id)
    assert (page.text("#board-name"), page.text("#region")) == ("Fastest laps", region)
    assert [page.cells(player.user_id)["score"] for player in (first, second)] == ["71.350", "1,142.700"]
    # Low is good here, and the best one's bar is still the longest.
    assert share(page, first.user_id) == 1
    assert 0 < share(page, second.user_id) < 0.1
    assert "board=laps" in address(page)
    assert f"region={region}" in address(page)
    submit(absent, laps, 60_000)
    page.until_rows(absent.user_id, first.user_id, second.user_id)
    page.driver.refresh()
    page.until_live().until_rows(absent.user_id, first.user_id, second.user_id)
    assert page.run("return document.getElementById('board-pick').value") == "laps"
    pick(page, "quiet")
    page.until_text("#empty", "leaderboard seed 1000 --board quiet")
    assert page.text("#tabs").split() == ["GLOBAL"]
    pick(page, "main")
    page.until_live().until_rows(absent.user_id, second.user_id, first.user_id)
    assert page.text("#tabs").split() == list(REGIONS)
    assert (page.text("#board-name"), page.text("#region")) == ("", region)
    assert "board=" not in address(page)


def test_a_board_that_is_made_meanwhile_is_offered_when_the_picker_is_opened(page: Page, define: Define) -> None:
    define("first")
    page.open().until_live().until(lambda: offered(page) == ["main", "first"], "the picker")
    define("second", title="The second")

    def open_picker() -> bool:
        page.click("#board-pick")
        page.press("\ue00c")
        return offered(page) == ["main", "first", "The second"]

    page.until(open_picker, "the new board")


def test_a_board_that_the_address_names_and_there_is_not_is_said(page: Page) -> None:
    page.open(board="<b>none", region="EU").until_live()
    page.until_text("#notice", "There is no board <b>none. This is main.")
    assert page.text("#region") == "EU"


def test_a_player_is_followed_on_the_chosen_board_with_its_neighbours(
    page: Page, register: Register, region: str, define: Define
) -> None:
    laps = define("laps", **LAPS)
    players = [register(region, score, name=f"P{score}") for score in (1, 2, 3)]
    for player, time in zip(players, (70_000, 71_000, 72_000), strict=True):
        submit(player, laps, time)
    page.open(board=laps, region=region, player=players[1].user_id).until_live()
    page.until(lambda: figures(page).get("Rank") == "2 of 3", "the rank")
    assert figures(page)["Score"] == "71.000"
    assert neighbours(page) == ["1 P1 70.000", "2 P2 71.000", "3 P3 72.000"]
    assert page.text("#player .figures dt") == f"Rank on {region}"
    assert page.text("#player .player-board") == "On Fastest laps"
    submit(players[1], laps, 69_999)
    page.until(lambda: figures(page)["Rank"] == "1 of 3", "the new rank")
    assert neighbours(page) == ["1 P2 69.999", "2 P1 70.000", "3 P3 72.000"]
    pick(page, "main")
    page.until(lambda: figures(page).get("Score") == "2", "the score on main")
    assert neighbours(page) == ["1 P3 3", "2 P2 2", "3 P1 1"]


def test_a_player_without_a_score_on_the_board_is_told_so_until_there_is_one(
    page: Page, server: Client, admin: Client, register: Register, region: str, define: Define
) -> None:
    laps = define("laps", **LAPS)
    player, other = register(region, 5), register(region, 6)
    submit(other, laps, 80_000)
    page.allowed.append("404")
    page.open(region=region, player=player.user_id).until_live().until_text("#player", player.user_id)
    until_offered(page, "main", "Fastest laps")
    pick(page, laps)
    page.until_text("#find-message", f"{player.user_id} has no score on this board yet.")
    assert page.run("return document.getElementById('find-message').dataset.kind") == ""
    assert page.text("#player") == ""
    assert f"player={player.user_id}" in address(page)
    submit(player, laps, 79_000)
    page.until(lambda: figures(page).get("Rank") == "1 of 2", "its rank")
    assert page.text("#find-message") == ""
    page.click("#tab-EMPTY")
    page.until_text("#find-message", f"plays in {region}, not in EMPTY")
    page.click("#find-message button")
    page.until(lambda: figures(page).get("Rank") == "1 of 2", "its rank")
    server.board(laps).remove(player.user_id)
    page.until_text("#find-message", f"{player.user_id} has no score on this board any more.")
    page.until_rows(other.user_id)
    page.fill("#find-id", "nobody-of-that-name")
    page.click("#find button")
    page.until_text("#find-message", "nobody-of-that-name is not a player here")


def test_scores_go_to_the_chosen_board_and_what_came_of_them_is_said(
    page: Page, register: Register, region: str, define: Define
) -> None:
    laps, coins = define("laps", **LAPS), define("coins", operator="sum", regions=False)
    player = register(region, 5)
    page.allowed.append("404")
    page.open(board=laps, region=region).until_live()
    sign_in(page, player)
    assert (page.text("#submit-mode"), page.text("#amount-label")) == ("", "Submit a score")
    send(page, "71.35")
    page.until_text("#submit-message", "Me now has 71.350. Improved.")
    page.until(lambda: figures(page).get("Score") == "71.350", "it on the card")
    send(page, "72")
    page.until_text("#submit-message", "Me still has 71.350. Not improved.")
    for typed in ("70.1234", "70.1.2", "70.-1"):
        send(page, typed)
        page.until_text("#submit-message", "At most 3 digits behind the point")
    send(page, "-")
    page.until_text("#submit-message", "A whole number")
    send(page, "70")
    page.until_text("#submit-message", "Me now has 70.000. Improved.")
    pick(page, coins)
    page.until_text("#amount-label", "Points to add")
    assert (page.text("#submit-mode"), page.text("#submit-message")) == ("", "")
    send(page, "7")
    page.until_text("#submit-message", "Me now has 7. Improved.")
    send(page, "-3")
    page.until_text("#submit-message", "Me now has 4. Not improved.")
    page.until(lambda: figures(page).get("Score") == "4", "it on the card")
    assert score(page, player, coins) == 4
    assert score(page, player, laps) == 70_000
    assert score(page, player, "main") == 5
    pick(page, "main")
    page.until_text("#submit-mode", "Set score")
    send(page, "1")
    page.until_text("#submit-message", "Me now has 6. Improved.")


def score(page: Page, player: Player, board: str) -> int:
    found: int = httpx.get(f"{page.url}/rank/{player.user_id}", params={"board": board}).json()["score"]
    return found


def test_a_board_that_takes_no_scores_of_players_says_so(
    page: Page, register: Register, region: str, define: Define
) -> None:
    define("closed", open=False)
    define("theirs", submit="server")
    page.open(board="closed", region=region).until_live()
    sign_in(page, register(region, 5))
    assert page.text("#submit-note") == "This board is closed: it takes no scores."
    assert page.text("#submit-fields") == ""
    pick(page, "theirs")
    page.until_text("#submit-note", "Scores of this board are sent by the game itself.")
    pick(page, "main")
    page.until_text("#submit-fields", "Submit")
    assert page.text("#submit-note") == ""


@pytest.mark.parametrize("followed", [False, True])
def test_a_board_that_is_deleted_while_it_is_shown_leads_back_to_main(
    page: Page, admin: Client, register: Register, region: str, define: Define, followed: bool
) -> None:
    laps = define("laps", **LAPS)
    player = register(region, 5)
    submit(player, laps, 70_000)
    page.allowed.append("404")
    page.open(board=laps, region=region, **({"player": player.user_id} if followed else {})).until_live()
    page.until_rows(player.user_id)
    if followed:
        page.until(lambda: figures(page).get("Score") == "70.000", "the card")
    admin.delete_board(laps)
    page.until_text("#notice", "The board Fastest laps has been deleted. This is main.")
    page.until_live().until(lambda: page.rows() and page.cells(player.user_id)["score"] == "5", "the main board")
    if followed:
        page.until(lambda: figures(page).get("Score") == "5", "the card")
    page.until(lambda: offered(page) == [], "no picker")
    assert "board=" not in address(page)
    assert page.text("#region") == region


HOSTILE = ("<img src=x onerror='window.pwned = 1'>", "\u202egnp.exe", "W" * 200)


@pytest.mark.parametrize("width", [360, 1280])
def test_titles_are_text_and_neither_run_nor_turn_nor_push_anything(
    page: Page, register: Register, region: str, define: Define, width: int
) -> None:
    names = [define(f"hostile-{place}", title=title) for place, title in enumerate(HOSTILE)]
    twin = define("twin", title=HOSTILE[1])
    player = register(region, 5)
    submit(player, names[1], 5)
    page.width(width)
    for name, title in zip(names, HOSTILE, strict=True):
        page.open(board=name, region=region).until_live()
        page.until_text("#board-name", title)
        assert page.run("return document.getElementById('board-pick').checkVisibility()")
        assert sticking_out(page) == []
        region_left = page.run("return document.getElementById('region').getBoundingClientRect().left")
        name_right = page.run("return document.getElementById('board-name').getBoundingClientRect().right")
        assert name_right <= region_left, "the region stands behind the title, and is not turned around"
    assert len(set(offered(page))) == 5
    assert f"\u2068{HOSTILE[1]}\u2069 ({twin})" in offered(page), "of two boards with one title each says its name"
    page.open(board=names[1], region=region, player=player.user_id).until_live()
    page.until_text("#player", "Rank on")
    assert sticking_out(page) == []
    assert page.run("return window.pwned") is None
    assert page.run("return document.querySelectorAll('main img').length") == 0
    assert page.violations() == []


def metadata(page: Page, user_id: str) -> str:
    """Return what is said beside a player's name, without the marks that keep its directions apart."""
    script = """
        const row = document.querySelector(`#rows [data-user-id="${CSS.escape(arguments[0])}"]`);
        const shown = row.querySelector(".metadata");
        return shown.checkVisibility() ? shown.textContent : "";
    """
    return str(page.run(script, user_id)).translate({0x2068: None, 0x2069: None})


def test_metadata_is_text_beside_a_name_and_changes_with_the_score(
    page: Page, register: Register, region: str, define: Define
) -> None:
    player, other = register(region), register(region)
    laps = define("laps", metadata_bytes=2000, **LAPS)

    def drive(score: int, said: object) -> None:
        answer = player.http.post("/score/update", json={"board": laps, "score": score, "metadata": said})
        assert answer.status_code == 200, answer.text

    drive(71_350, {"car": "<img src=x onerror=document.title='ran'>", "splits": [1, 2.5], "who": {"a": None}})
    submit(other, laps, 80_000)
    page.open(board=laps, region=region, player=player.user_id).until_live()
    page.until_rows(player.user_id, other.user_id)
    said = "car <img src=x onerror=document.title='ran'> · splits [1,2.5] · who {\"a\":null}"
    assert (metadata(page, player.user_id), metadata(page, other.user_id)) == (said, "")
    page.until_text("#player", "onerror=document.title='ran'")
    assert page.run("return document.title") == "Leaderboard"
    assert page.run("return document.querySelectorAll('#rows img, #player img').length") == 0
    drive(71_300, {"car": "Kappa"})
    page.until(lambda: metadata(page, player.user_id) == "car Kappa", "the other words")
    drive(71_000, None)
    page.until(lambda: metadata(page, player.user_id) == "", "no words")
    page.until(lambda: "Kappa" not in page.text("#player"), "no words in the card")
    drive(70_000, {"\u202eevil": "m" * 1500})
    page.until(lambda: "evil" in metadata(page, player.user_id), "very long words")
    for width in (1280, 390, 320):
        page.width(width, 800)
        assert sticking_out(page) == []
        assert page.cells(player.user_id)["name"] != ""


def test_bars_are_longest_for_the_best_in_either_order(page: Page) -> None:
    page.open()
    cases = [
        *([50, 100, "desc"], [100, 100, "desc"], [-5, 100, "desc"], [0, 0, "desc"], [-9, -3, "desc"]),
        *([200, 100, "asc"], [100, 100, "asc"], [0, 0, "asc"], [5, 0, "asc"], [-3, -6, "asc"], [5, -6, "asc"]),
    ]
    script = """
        const done = arguments[arguments.length - 1];
        import("/assets/rows.js").then(({ shareOf }) => done(arguments[0].map((given) => shareOf(...given))));
    """
    assert page.driver.execute_async_script(script, cases) == [0.5, 1, 0, 0, 0, 0.5, 1, 1, 0, 0.5, 0]
