"""Take screenshots of the page for review: `python -m tests.page.screenshots [--out folder]`.

It starts a system with players, and takes light, dark and phone, of the main board and of one more.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from leaderboard_client import Client, Submission
from tests.acceptance.cluster import local_cluster
from tests.page.browser import Page, browser, missing_browser, page_in
from tests.page.server import administrator, game_server

NAMES = (
    *("Ada Okafor", "Mei-Lin", "Łukasz", "山田 太郎", "Nora B.", "Юлия", "Tariq", "نور الهدى", "Ingrid", "Kofi"),
    *("Zoë", "김민준", "Mateus", "Aroha", "Søren", "दीपिका", "Lou", "Noam", "Ximena", "Tomás"),
    *("Hana", "Emre", "Beatrix", "Ravi", "Chloé", "Oleksandr", "Priya", "Jonas", "Amara", "Wren"),
)
SAID: tuple[dict[str, object] | None, ...] = (
    {"car": "Tecnica 7", "tyres": "soft", "track": "Monza"},
    None,
    {"car": "سيارة"},
    {"splits": [21.4, 25.01, 24.9], "car": {"name": "Kappa", "weight": 640}, "weather": "rain for most of the way"},
)
CROWD = 1200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    options = parser.parse_args()
    problem = missing_browser()
    if problem:
        raise SystemExit(problem)
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        local_cluster(Path(folder) / "data") as cluster,
        game_server(cluster) as api,
        administrator(cluster) as admin,
        browser() as driver,
        page_in(driver, cluster.url) as page,
    ):
        fill(api)
        take_all(page, api, options.out)
        take_boards(page, api, admin, options.out)


def take_all(page: Page, api: Client, out: Path) -> None:
    """Take every screenshot."""
    for theme in ("light", "dark"):
        take(page, api, out / f"{theme}.png", theme=theme, width=1280, height=860)
    take(page, api, out / "whole.png", theme="light", width=1280, height=860, whole=True)
    for theme in ("light", "dark"):
        take(page, api, out / f"phone-{theme}.png", theme=theme, width=390, height=844)
    take(page, api, out / "phone-whole.png", theme="light", width=360, height=740, whole=True)
    for name, path in (("empty", "/?region=NA"), ("docs", "/docs#post-score-add")):
        page.prefer(color_scheme="dark" if name == "docs" else "light")
        page.width(1280, 860)
        page.open(path)
        page.until(lambda: page.text("main"), "the page")
        page.until(lambda: "Asking" not in page.text("body") and "Loading" not in page.text("body"), "it all")
        (out / f"{name}.png").write_bytes(page.screenshot())


def take_boards(page: Page, api: Client, admin: Client, out: Path) -> None:
    """Take what the page has once there are more boards: the picker, one of them, and the form that makes them."""
    rules = {
        "title": "Fastest laps",
        "operator": "best",
        "order": "asc",
        "ties": "earliest",
        "decimals": 3,
        "metadata_bytes": 200,
    }
    admin.define_board("laps", rules)
    admin.define_board("coins", {"title": "Coins of the week", "operator": "sum", "regions": False})
    laps = [
        Submission(f"player-{n:02}", home(n), score=71_350 + n * 1_730, board="laps", metadata=SAID[n % len(SAID)])
        for n in range(24)
    ]
    submit(api, laps)
    for theme in ("light", "dark"):
        page.prefer(color_scheme=theme, reduced_motion="reduce")
        for width, height, kind in ((1280, 860, ""), (390, 844, "-phone")):
            page.width(width, height)
            page.open(board="laps", region="GLOBAL", player="player-06")
            page.until_live().until_text("#player", "Tariq")
            page.until(lambda: page.text("#verdict") == "Everything saved", "the verdict")
            (out / f"boards-{theme}{kind}.png").write_bytes(page.screenshot(whole=bool(kind)))
            page.click("#admin-open")
            page.fill("#admin-token", str(admin.token))
            page.click("#admin-enter button[type=submit]")
            page.fill("#define-board", "No name")
            page.click("#define button[type=submit]")
            page.until_text("#define", "a letter or digit first")
            (out / f"admin-{theme}{kind}.png").write_bytes(page.screenshot(whole=True))
            page.click("#admin-leave")


def fill(api: Client) -> None:
    """Put players on every board but NA's."""
    chance = random.Random(7)
    best = sorted((round(chance.lognormvariate(9.7, 0.35)) for _ in NAMES), reverse=True)
    known = [
        Submission(f"player-{number:02}", home(number), score=score, name=name)
        for number, (name, score) in enumerate(zip(NAMES, best, strict=True))
    ]
    crowd = [Submission(f"crowd-{n:04}", home(n), score=n * 3, name=f"Player {n}") for n in range(CROWD)]
    submit(api, known)
    for start in range(0, CROWD, 500):
        submit(api, crowd[start : start + 500])


def home(number: int) -> str:
    """Return the region of a player by its number."""
    return ("ASIA", "EU")[number % 2]


def submit(api: Client, scores: list[Submission]) -> None:
    assert api.submit_many(scores).ok


def take(page: Page, api: Client, path: Path, *, theme: str, width: int, height: int, whole: bool = False) -> None:
    """Open the page, let a player rise, and take the screenshot."""
    page.prefer(color_scheme=theme, reduced_motion="reduce")
    page.width(width, height)
    page.open(region="GLOBAL", **({"player": "player-06"} if width > 600 or whole else {}))
    page.until_live().until(lambda: len(page.rows()) >= 10, "the rows")
    if width > 600 or whole:
        page.until_text("#player", "Tariq")
    page.until(lambda: page.text("#verdict") == "Everything saved", "the verdict")
    order = page.rows()
    for place in (6, 13) if len(order) > 13 else (6,):
        rise(page, api, order[place], by=3)
    page.until(lambda: page.text("#verdict") == "Everything saved", "the verdict")
    path.write_bytes(page.screenshot(whole=whole))


def rise(page: Page, api: Client, user_id: str, *, by: int) -> None:
    """Let a player overtake some others, and wait until the board shows it."""
    place = page.rows().index(user_id)
    above = int(page.cells(page.rows()[place - by])["score"].replace(",", ""))
    submit(api, [Submission(user_id, home(int(user_id.removeprefix("player-"))), score=above + 21)])
    page.until(lambda: page.rows().index(user_id) == place - by, "the rise")


if __name__ == "__main__":
    main()
