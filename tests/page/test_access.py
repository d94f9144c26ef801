"""Test keyboard and screen reader access, and the rules of axe-core where npm can fetch it."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from leaderboard_client import Client
from tests.acceptance.cluster import LocalCluster
from tests.page.browser import Page
from tests.page.conftest import REGIONS, Define, Register

TAB, ENTER = "\ue004", "\ue007"
AXE = "axe-core@4.10.3"


def test_everything_can_be_reached_by_keyboard_in_a_sensible_order(page: Page, register: Register, region: str) -> None:
    player = register(region, 5)
    page.open(region=region).until_live().until_rows(player.user_id)
    page.until_text("#verdict", "saved")
    seen: list[str] = []
    while seen[-1:] != ["API reference"]:
        page.press(TAB)
        seen.append(page.focused())
        outline = page.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.run("return document.activeElement.type") == "radio", seen[-1]
    wanted = ["Skip to the board", "saved", "theme", "find-id", "Find", f"tab-{region}", f"Name of {player.user_id}"]
    places = [next(place for place, text in enumerate(seen) if text.startswith(start)) for start in wanted[1:]]
    assert seen[0] == wanted[0]
    assert places == sorted(places)
    for field in ("enter-id", "enter-name", "enter-region", "enter-score", "enter-password"):
        assert field in seen


def test_the_skip_link_leads_to_the_board(page: Page) -> None:
    page.open().until_live()
    page.press(TAB)
    assert page.run("return getComputedStyle(document.activeElement).clipPath") == "none"
    page.press(ENTER)
    assert page.focused() == "board"


def test_the_board_is_a_table_for_a_screen_reader(page: Page, register: Register, region: str) -> None:
    player = register(region, 5, name="Ada")
    page.open(region=region).until_live().until_rows(player.user_id)
    tree = page.command("Accessibility.getFullAXTree")["nodes"]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    for wanted in (
        ("table", f"The best players of {region}, live"),
        ("columnheader", "Rank"),
        ("columnheader", "Score"),
        ("rowheader", "Ada"),
        ("cell", "5"),
        ("tablist", "Region"),
        ("tab", region),
        ("tabpanel", region),
        ("search", ""),
        ("textbox", "Player ID"),
        ("main", ""),
        ("heading", "System"),
    ):
        assert wanted in found, f"{wanted} is not in {found}"


def test_the_focus_stays_on_a_row_that_moves(page: Page, register: Register, region: str) -> None:
    best, last = register(region, 20, name="Best"), register(region, 10, name="Last")
    page.open(region=region).until_live().until_rows(best.user_id, last.user_id)
    page.run("document.querySelectorAll('#rows .name')[1].focus()")
    last.http.post("/score/update", json={"score": 30})
    page.until_rows(last.user_id, best.user_id)
    assert page.focused() == "Last"


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the source of axe-core."""
    if not shutil.which("npm"):
        pytest.skip("no npm on PATH to fetch axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    fetched = subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, timeout=120)
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch {AXE}: {fetched.stderr.strip()[-200:]}")
    with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(page: Page, axe: str, register: Register, region: str, theme: str, width: int) -> None:
    players = [register(region, score) for score in (9, 8, 7, 6, 5)]
    page.width(width)
    page.prefer(color_scheme=theme, reduced_motion="reduce")
    # The policy does not concern axe's own helper elements.
    page.command("Page.setBypassCSP", enabled=True)
    page.open(region=region, player=players[4].user_id).until_live().until_text("#player", players[4].user_id)
    page.until_text("#verdict", "saved")
    page.click("#enter button[type=submit]")
    page.until_text("#enter-message", "Fill this in")
    assert problems(page, axe) == []
    page.open("/docs")
    page.until_text("#calls", "/auth/register")
    page.run("document.querySelector('#post-score-add').open = true")
    page.until_text("#post-score-add", "Try it")
    assert problems(page, axe) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_a_named_board_and_in_the_form_that_makes_one(
    page: Page, axe: str, admin: Client, define: Define, theme: str
) -> None:
    define("laps", title="Fastest laps")
    page.prefer(color_scheme=theme, reduced_motion="reduce")
    page.command("Page.setBypassCSP", enabled=True)
    page.open(board="laps").until_live().until_text("#board-name", "Fastest laps")
    page.until_text("#verdict", "saved")
    page.click("#admin-open")
    page.fill("#admin-token", str(admin.token))
    assert problems(page, axe) == []
    page.click("#admin-enter button[type=submit]")
    page.click("#define button[type=submit]")
    page.until_text("#define-message", "Fill this in")
    assert problems(page, axe) == []


def problems(page: Page, axe: str) -> list[str]:
    """List the violations that axe finds, with their elements."""
    page.run(axe)
    script = """
        const done = arguments[0];
        const describe = ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`)}`;
        axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })
            .then(({ violations }) => done(violations.map(describe)));
    """
    found: list[str] = page.driver.execute_async_script(script)
    return found


def test_who_may_not_see_the_status_gets_the_boards_alone(
    page: Page, cluster: LocalCluster, register: Register, region: str
) -> None:
    player = register(region, 5)
    page.allowed += ["403"]
    # A gateway of this machine believes what a proxy says of its client.
    page.url = cluster.state["urls"]["gateway-1"]
    page.command("Network.enable")
    page.command("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": "203.0.113.9"})
    page.open(region=region).until_live().until_rows(player.user_id)
    page.until(lambda: not page.text("#system"), "the panel to go")
    assert page.text("#saved") == ""
    assert page.run("return document.querySelector('a[href=\"/docs\"]').checkVisibility()") is False
    assert page.text("#tabs").split() == list(REGIONS)
