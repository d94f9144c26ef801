"""Test finding a player, and following it live."""

from __future__ import annotations

from leaderboard_client import Client
from tests.page.browser import Page
from tests.page.conftest import Register, set_score


def figures(page: Page) -> dict[str, str]:
    """Return the values of the card by label."""
    script = """
        return Object.fromEntries([...document.querySelectorAll("#player .figures > div")].map((part) =>
            [part.querySelector("dt").innerText, part.querySelector("dd").innerText.trim()]));
    """
    return {label.partition(" on ")[0]: text for label, text in page.run(script).items()}


def until_rank(page: Page, wanted: str) -> None:
    page.until(lambda: figures(page)["Rank"] == wanted, f"rank {wanted}")


def neighbours(page: Page) -> list[str]:
    script = "return [...document.querySelectorAll('#player .neighbour')].map((item) => item.innerText)"
    return [" ".join(text.split()) for text in page.run(script)]


def test_a_search_shows_rank_percentile_and_neighbours_and_follows_them(
    page: Page, register: Register, region: str
) -> None:
    players = [
        register(region, 100 * (6 - place), user_id=f"{region}-{place}", name=f"P{place}") for place in range(1, 6)
    ]
    page.open(region=region).until_live()
    page.fill("#find-id", f" {region}-4 ")
    page.click("#find button")
    page.until_text("#player .player-name", "P4")
    # Of the four others one has a score that is not higher: 25 %.
    assert figures(page) == {"Rank": "4 of 5", "Percentile": "25.0", "Score": "200"}
    assert neighbours(page) == ["2 P2 400", "3 P3 300", "4 P4 200", "5 P5 100"]
    assert followed(page) == [f"{region}-4"]
    assert f"player={region}-4" in page.run("return location.search")
    set_score(players[3], 450)
    page.until(lambda: figures(page)["Rank"] == "2 of 5", "the new rank")
    assert figures(page) == {"Rank": "2 of 5", "Percentile": "75.0", "Score": "450"}
    page.until(lambda: neighbours(page) == ["1 P1 500", "2 P4 450", "3 P2 400", "4 P3 300"], "the new neighbours")
    set_score(players[1], 460)
    page.until(lambda: neighbours(page) == ["1 P1 500", "2 P2 460", "3 P4 450", "4 P3 300", "5 P5 100"], "both")
    # The address restores this state.
    page.driver.refresh()
    page.until_text("#player .player-name", "P4")
    assert followed(page) == [f"{region}-4"]
    page.click("#player .link-button")
    assert (page.text("#player"), followed(page), page.focused()) == ("", [], "find-id")
    assert "player=" not in page.run("return location.search")


def followed(page: Page) -> list[str]:
    script = "return [...document.querySelectorAll('#rows .row.followed')].map((row) => row.dataset.userId)"
    found: list[str] = page.run(script)
    return found


def test_a_row_can_be_chosen_and_the_player_goes_along_to_another_board(
    page: Page, register: Register, region: str
) -> None:
    player, other = register(region, 3), register(region, 1)
    page.allowed.append("404")
    page.open(region=region).until_live().until_rows(player.user_id, other.user_id)
    page.click(f'[data-user-id="{other.user_id}"] .name')
    page.until_text("#player", other.user_id)
    assert figures(page)["Rank"] == "2 of 2"
    page.click("#tab-EMPTY")
    page.until_text("#find-message", f"plays in {region}, not in EMPTY")
    page.click("#find-message button")
    page.until_text("#region", region)
    page.until_text("#player", other.user_id)
    page.click("#tab-GLOBAL")
    page.until_text("#player", "Rank on GLOBAL")
    assert page.text("#player .player-id").split() == [other.user_id, "·", region]


def test_an_unknown_player_is_said_in_words(page: Page) -> None:
    page.allowed.append("404")
    page.open().until_live()
    page.fill("#find-id", "nobody-of-that-name")
    page.press("\ue007")
    page.until_text("#find-message", "nobody-of-that-name is not a player here")
    assert page.run("return document.getElementById('find-message').getAttribute('role')") == "status"


def test_a_board_that_changes_much_does_not_talk_much(page: Page, register: Register, region: str) -> None:
    leader, player = register(region, 1000), register(region, 0)
    page.open(region=region, player=player.user_id).until_live()
    page.until_text("#player", player.user_id)
    page.until(lambda: "rank 2 of 2" in page.run("return document.getElementById('announcer').textContent"), "the rank")
    page.run("""
        window.said = [];
        new MutationObserver(() => said.push(document.getElementById("announcer").textContent))
            .observe(document.getElementById("announcer"), { childList: true, characterData: true, subtree: true });
    """)
    for score in range(1, 13):
        set_score(player, score if score % 2 else 1000 + score)
        until_rank(page, f"{2 if score % 2 else 1} of 2")
    assert len(page.run("return said")) <= 1
    assert page.run("return document.querySelectorAll('[aria-live]').length") == 1
    assert leader.user_id in page.rows()


def test_ids_that_no_address_can_hold_are_nobody(page: Page) -> None:
    page.open().until_live()
    for user_id in (".", ".."):
        page.fill("#find-id", user_id)
        page.click("#find button")
        page.until_text("#find-message", f"{user_id} is not a player here")


def test_a_player_who_is_deleted_leaves_the_page(page: Page, server: Client, register: Register, region: str) -> None:
    stays, goes = register(region, 2), register(region, 1)
    page.open(region=region, player=goes.user_id).until_live().until_rows(stays.user_id, goes.user_id)
    page.until_text("#player", goes.user_id)
    server.delete_user(goes.user_id)
    page.until_text("#find-message", f"{goes.user_id} has left the leaderboard.")
    page.until_rows(stays.user_id)
    assert page.text("#player") == ""
