"""Test that names are shown as text, and break neither the page nor its layout."""

from __future__ import annotations

import pytest

from tests.page.browser import Page
from tests.page.conftest import Register

HOSTILE = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 2'>",
    "<svg/onload=window.pwned=3><b>bold</b>",
    "</td></tr></table><style>body{display:none}</style>",
    "javascript:window.pwned=4 &amp; &lt;b&gt; {{7*7}} ${7*7}",
)


def test_markup_in_names_is_shown_as_text_and_nothing_runs(page: Page, register: Register, region: str) -> None:
    players = [register(region, 100 - place, name=name) for place, name in enumerate(HOSTILE)]
    evil_id = register(region, 1, user_id="<script>pwned=5<\\script>", name=HOSTILE[0])
    page.open(region=region, player=players[0].user_id).until_live()
    page.until_rows(*(player.user_id for player in players), evil_id.user_id)
    page.until_text("#player", HOSTILE[0])
    for player, name in zip(players, HOSTILE, strict=True):
        assert page.cells(player.user_id)["name"] == name
    assert page.cells(evil_id.user_id)["id"] == evil_id.user_id
    page.click(f'[data-user-id="{players[1].user_id}"] .name')
    page.until_text("#player", HOSTILE[1])
    page.fill("#find-id", HOSTILE[0].replace(" ", ""))
    page.click("#find button")
    page.allowed.append("404")
    page.until_text("#find-message", f"{HOSTILE[0].replace(' ', '')} is not a player here")
    assert page.run("return window.pwned") is None
    assert (
        page.run("return document.querySelectorAll('main script, main style, main img, main svg, main b').length") == 0
    )
    assert page.violations() == []


def test_the_policy_stops_what_would_run_all_the_same(page: Page) -> None:
    """Prove that violations are reported, so that none elsewhere means something."""
    page.open().until_live()
    page.run("""
        const script = document.createElement("script");
        const style = document.createElement("style");
        const image = new Image();
        try { script.textContent = "window.pwned = 1"; } catch {}
        style.textContent = "body { display: none }";
        image.src = "http://127.0.0.1:9/x.png";
        try { document.body.insertAdjacentHTML("beforeend", "<p id=made></p>"); } catch {}
        document.body.append(script, style, image);
        fetch("http://127.0.0.1:9/").catch(() => {});
    """)
    wanted = {"require-trusted-types-for", "style-src-elem", "img-src", "connect-src"}
    page.until(lambda: {text.split()[0] for text in page.violations()} >= wanted, "the reports")
    assert page.run("return window.pwned ?? document.getElementById('made')") is None
    page.allowed += ["Content Security Policy", "TrustedHTML", "TrustedScript", "Trusted Type", *page.violations()]


RIGHT_TO_LEFT = ("نور الهدى", "יעל 42", "\u202etxt.exe\u202c!", "\u2067abc\u2069", "abc\u202e\u202c")


def test_right_to_left_names_turn_nothing_around(page: Page, register: Register, region: str) -> None:
    plain = register(region, 1000, name="Plain")
    # Twice each: ids are shown beside namesakes.
    players = [register(region, 900 - place, name=name) for place, name in enumerate(("Plain", *RIGHT_TO_LEFT * 2))]
    twin, *players = players
    page.open(region=region, player=players[2].user_id).until_live()
    page.until_rows(plain.user_id, twin.user_id, *(player.user_id for player in players))
    where = """
        const row = document.querySelector(`#rows [data-user-id="${arguments[0]}"]`);
        return [".place", ".name", ".id", "td.score"].map((part) => {
            const range = document.createRange();
            range.selectNodeContents(row.querySelector(part));
            return Math.round(range.getBoundingClientRect().left);
        });
    """
    usual = page.run(where, plain.user_id)
    for player, name in zip(players, RIGHT_TO_LEFT * 2, strict=True):
        place, name_left, id_left, score = page.run(where, player.user_id)
        assert place < name_left < id_left < score, name
        assert name_left == usual[1], name
        assert page.cells(player.user_id)["score"].isdecimal()
    arabic = f'#rows [data-user-id="{players[0].user_id}"] bdi'
    assert page.run("return getComputedStyle(document.querySelector(arguments[0])).direction", arabic) == "rtl"
    page.until(lambda: page.text("#player .figures dd") == "5 of 12", "the player")


@pytest.mark.parametrize("width", [360, 1280])
def test_overlong_names_are_cut_and_push_nothing_aside(page: Page, register: Register, region: str, width: int) -> None:
    longest = register(region, 2**53 - 1, user_id="i" * 128, name="W" * 200)
    other = register(region, -(2**53) + 1, name="अ" * 190)
    page.width(width)
    page.open(region=region, player=longest.user_id).until_live().until_rows(longest.user_id, other.user_id)
    page.until_text("#player", "9,007,199,254,740,991")
    assert page.cells(other.user_id)["score"] == "-9,007,199,254,740,991"
    cut = "const name = document.querySelector('#rows .name'); return name.scrollWidth > name.clientWidth"
    assert page.run(cut), "it is longer than its place"
    assert page.run("return document.querySelector('#rows .name').title") == "W" * 200
    assert sticking_out(page) == []


def test_a_phone_needs_no_sideways_scrolling(page: Page, register: Register, region: str) -> None:
    best, other = register(region, 12_345_678), register(region, 5)
    page.width(360)
    for theme in ("light", "dark"):
        page.prefer(color_scheme=theme)
        page.open(region=region, player=other.user_id).until_live().until_rows(best.user_id, other.user_id)
        page.until_text("#player", other.user_id)
        page.until_text("#verdict", "saved")
        assert sticking_out(page) == []
    page.open("/docs")
    page.until_text("#calls", "/auth/register")
    page.run("for (const call of document.querySelectorAll('details')) call.open = true")
    page.until_text("#post-score-add", "Try it")
    assert sticking_out(page) == []


def sticking_out(page: Page) -> list[str]:
    """List the elements beyond the right edge of the screen, and whether the page scrolls sideways."""
    script = """
        const width = document.documentElement.clientWidth;
        const out = [...document.querySelectorAll("body *")].filter((element) => {
            if (element.closest(".tabs, .scroller, .for-readers, .skip, .one-line bdi")) return false;
            const box = element.getBoundingClientRect();
            return box.width > 0 && (box.right > width + 1 || box.left < -1);
        });
        const wide = document.documentElement.scrollWidth > width ? ["the page"] : [];
        return [...wide, ...out.map((element) => element.outerHTML.slice(0, 120))];
    """
    found: list[str] = page.run(script)
    return found
