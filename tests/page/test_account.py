"""Test registering, signing in and sending scores by the forms."""

from __future__ import annotations

import secrets

import httpx

from tests.acceptance.cluster import LocalCluster
from tests.page.browser import Page
from tests.page.conftest import Register
from tests.page.test_player import figures


def enter(page: Page, user_id: str, name: str, **more: str) -> None:
    page.fill("#enter-id", user_id)
    page.fill("#enter-name", name)
    for field, value in more.items():
        page.fill(f"#enter-{field}", value)
    page.click("#enter button[type=submit]")


def send(page: Page, amount: str) -> None:
    page.fill("#submit-amount", amount)
    page.click("#submit button[type=submit]")


def test_somebody_registers_plays_and_comes_back(page: Page, cluster: LocalCluster, region: str) -> None:
    user_id = f"form-{secrets.token_hex(4)}"
    page.open(region=region).until_live()
    assert page.run("return document.getElementById('enter-region').value") == region
    enter(page, user_id, "Zoë <b>", score="1,200", password="correct horse")
    page.until_text("#submit-message", f"Zoë <b> is on the {region} board.")
    page.until_rows(user_id)
    page.until(lambda: figures(page).get("Score") == "1,200", "the first score")
    send(page, "34")
    page.until_text("#submit-message", "Zoë <b> now has 1,234.")
    page.click("#submit .choice label:last-of-type")
    assert page.text("#amount-label") == "New score"
    send(page, "-7")
    page.until_text("#submit-message", "Zoë <b> now has -7.")
    page.until(lambda: page.cells(user_id)["score"] == "-7", "the row")
    assert httpx.get(f"{cluster.url}/rank/{user_id}").json()["score"] == -7
    page.driver.refresh()
    page.until_text("#me-name", "Zoë <b>")
    page.click("#leave")
    assert page.text("#submit") == ""
    page.click("#enter .choice label:last-of-type")
    assert page.text("#enter button") == "Sign in"
    page.allowed.append("401")
    enter(page, user_id, "Zoë <b>", password="wrong horse")
    page.until_text("#enter-message", "do not belong together")
    enter(page, user_id, "Zoë <b>", password="correct horse")
    page.until_text("#submit-message", "Zoë <b> is signed in.")
    assert page.text("#me-region") == region


def test_who_has_no_password_is_told_a_secret_that_signs_in(page: Page, cluster: LocalCluster, region: str) -> None:
    user_id = f"form-{secrets.token_hex(4)}"
    page.open(region=region).until_live()
    enter(page, user_id, "Zoë")
    page.until_text("#submit-message", "Keep this secret")
    secret = page.text("#submit-message .secret")
    assert len(secret) == 32
    page.click("#leave")
    page.click("#enter .choice label:last-of-type")
    assert "secret" in page.text("#password-label")
    enter(page, user_id, "", password=secret)
    page.until_text("#submit-message", "Zoë is signed in.")


def test_mistakes_are_said_beside_the_field(page: Page, register: Register, region: str) -> None:
    taken = register(region, 5)
    page.open(region=region).until_live()
    for fields, field, words in (
        (("", "Somebody"), "enter-id", "Player ID: Fill this in."),
        (("has space", "Somebody"), "enter-id", "No spaces"),
        (("fine", ""), "enter-name", "Name: Fill this in."),
    ):
        enter(page, *fields)
        page.until_text("#enter-message", words)
        assert page.focused() == field
        assert page.run("return document.activeElement.getAttribute('aria-invalid')") == "true"
        assert page.run("return document.activeElement.getAttribute('aria-describedby')") == "enter-message"
    for score in ("1.5", "ten", "1e3", "9007199254740992"):
        enter(page, "fine", "Somebody", score=score)
        page.until_text("#enter-message", "First score: A whole number")
        assert page.focused() == "enter-score"
    enter(page, "fine", "Somebody", score="5", password="short")
    page.until_text("#enter-message", "At least 8 characters")
    page.allowed.append("409")
    page.fill("#enter-password", "")
    enter(page, taken.user_id, "Somebody")
    page.until_text("#enter-message", "This player ID is taken.")
    page.click("#enter-message button")
    assert page.text("#enter button") == "Sign in"
    page.fill("#enter-name", f"Name of {taken.user_id}")
    page.press("\ue007")
    page.until_text("#submit-message", "is signed in")


def test_too_many_scores_count_down_until_they_are_taken_again(page: Page, register: Register, region: str) -> None:
    player = register(region, 0)
    page.open(region=region).until_live()
    page.click("#enter .choice label:last-of-type")
    enter(page, player.user_id, f"Name of {player.user_id}")
    page.until_text("#submit-message", "is signed in")
    page.allowed.append("429")

    def says_too_fast() -> bool:
        """Empty the bucket and submit: a slow machine may be given another token in between."""
        before = page.text("#submit-message")
        while player.http.post("/score/add", json={"delta": 1}).status_code == 200:
            pass
        send(page, "1")
        page.until(lambda: page.text("#submit-message") not in ("", before), "an answer")
        return "Too fast" in page.text("#submit-message")

    page.until(says_too_fast, "a submit that came too fast")
    button = page.one("#submit button[type=submit]")
    assert button.text.startswith("Again in ")
    assert button.get_attribute("aria-disabled") == "true"
    page.until(lambda: button.get_attribute("aria-disabled") is None, "the end of the countdown")
    assert button.text == "Submit"
    before = httpx.get(f"{page.url}/rank/{player.user_id}").json()["score"]
    button.click()
    page.until_text("#submit-message", f"now has {before + 1}.")


def test_an_expired_sign_in_is_asked_for_again(page: Page, register: Register, region: str) -> None:
    player = register(region, 0)
    page.open(region=region).until_live()
    me = {"user_id": player.user_id, "name": "Me", "region": region, "token": "e30.e30.expired"}
    page.run("sessionStorage.setItem('leaderboard.me', JSON.stringify(arguments[0]))", me)
    page.driver.refresh()
    page.until_text("#me-name", "Me")
    page.allowed.append("401")
    send(page, "1")
    page.until_text("#enter-message", "expired")
    assert page.text("#enter button") == "Sign in"
    assert page.run("return sessionStorage.getItem('leaderboard.me')") is None
