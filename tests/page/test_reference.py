"""Test the API reference at /docs: it loads nothing foreign, and its forms call the API."""

from __future__ import annotations

import httpx

from tests.page.browser import Page
from tests.page.conftest import Register


def test_the_pages_load_nothing_from_elsewhere(page: Page) -> None:
    for path, ready, words in (("/", "#verdict", "saved"), ("/docs", "#calls", "/auth/register")):
        page.open(path)
        page.until_text(ready, words)
        asked = page.requested()
        assert len(asked) > 5
        assert [address for address in asked if not address.startswith(f"{page.url}/")] == []
        assert page.violations() == []


def test_the_reference_shows_every_call(page: Page) -> None:
    page.open("/docs")
    page.until_text("#calls", "/auth/register")
    document = httpx.get(f"{page.url}/openapi.json").json()
    wanted = {(verb.upper(), path) for path, verbs in document["paths"].items() for verb in verbs}
    script = """
        return [...document.querySelectorAll("summary")].map((call) =>
            [".verb", ".path"].map((part) => call.querySelector(part).innerText));
    """
    assert {tuple(pair) for pair in page.run(script)} == wanted
    page.run("for (const call of document.querySelectorAll('details')) call.open = true")
    page.until(lambda: page.run("return document.querySelectorAll('form.try').length") == len(wanted), "every form")


def test_a_call_is_tried_with_a_token_and_without(page: Page, register: Register, region: str) -> None:
    player = register(region, 40)
    page.open("/docs#post-score-add")
    page.until_text("#post-score-add", "Try it")
    page.run("document.querySelector('#post-score-add textarea').value = '{\"delta\": 2}'")
    page.allowed.append("401")
    page.click("#post-score-add form button")
    page.until_text("#post-score-add .answer", "HTTP 401")
    page.fill("#token", player.token)
    page.fill("#post-score-add-Idempotency-Key", "once")
    assert "Bearer $TOKEN" in page.text("#post-score-add .curl")
    for _ in range(2):
        page.click("#post-score-add form button")
        page.until_text("#post-score-add .answer", "HTTP 200")
        page.until_text("#post-score-add .answer", '"score": 42')


def test_a_stream_is_shown_as_it_comes_and_can_be_stopped(page: Page, register: Register, region: str) -> None:
    player = register(region, 1)
    page.open("/docs#get-stream-top")
    page.until_text("#get-stream-top", "Try it")
    page.fill("#get-stream-top-region", region)
    page.click("#get-stream-top form button")
    page.until_text("#get-stream-top .answer", "event: snapshot")
    player.http.post("/score/add", json={"delta": 5})
    page.until_text("#get-stream-top .answer", "event: change")
    assert page.text("#get-stream-top form button") == "Stop"
    page.click("#get-stream-top form button")
    page.until(lambda: page.text("#get-stream-top form button") == "Send", "the end")
