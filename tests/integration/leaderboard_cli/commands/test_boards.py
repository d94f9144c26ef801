"""Test `leaderboard boards`: what is shown can be stated again, and a file twice changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support.command import run_command
from tests.support.service import SECRET, Api


async def boards(api: Api, *words: str, typed: str = "") -> tuple[int | None, str, str]:
    return await run_command("boards", *words, "--url", str(api.http.base_url), typed=typed, JWT_SECRET=SECRET)


async def test_a_file_is_stated_once(start: Start, tmp_path: Path) -> None:
    api, file = await start(), tmp_path / "boards.json"
    file.write_text(json.dumps({"main": {"title": "Season 3", "max_score": 900}}), "utf-8")
    again = tmp_path / "boards.yaml"
    again.write_text("main:\n  title: Season 3\n  max_score: 900  # as before\n", "utf-8")
    for one, said in (
        (file, "main: version 1"),
        (file, "main: unchanged, version 1"),
        (again, "main: unchanged, version 1"),
    ):
        code, output, complaint = await boards(api, "apply", str(one))
        assert (code, output) == (0, said), complaint
    code, output, _ = await boards(api, "list")
    assert (code, output) == (0, "main version 1 Season 3")
    assert (await api.get("/boards/main")).json()["definition"]["max_score"] == 900


async def test_what_is_shown_can_be_stated(start: Start) -> None:
    api = await start()
    assert (await api.define({"title": "日本", "max_step": 5})).status_code == 200
    code, shown, complaint = await boards(api, "show", "main")
    assert code == 0, complaint
    assert (await api.define({})).json()["version"] == 2
    code, output, complaint = await boards(api, "apply", "-", typed=shown)
    assert (code, output) == (0, "main: version 3"), complaint
    assert (await api.get("/boards/main")).json()["definition"] == json.loads(shown)["main"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"main": {"order": "asc"}}', "fixed_field"),
        ('{"main": {"min_score": "low"}}', "min_score"),
        ('{"Kills": {}}', "board"),
        ('{"kills": {"windows": ["day"]}}', "windows"),
        ('{"title": "x"}', "standard input is to have one object of rules for each board"),
        ('{"main": {}, "laps": null}', "laps has none"),
        ('{"main": {title: x}}', "standard input cannot be read as JSON"),
        ("main: {open: yes}", "standard input cannot be read as YAML: line 1, column 14: yes is a text in one YAML"),
    ],
)
async def test_what_is_refused_is_said(start: Start, text: str, said: str) -> None:
    api = await start()
    code, _, complaint = await boards(api, "apply", "-", typed=text)
    assert code == 1
    assert said in complaint
    assert "Traceback" not in complaint
    code, _, complaint = await boards(api, "show", "kills")
    assert (code, "board_not_found" in complaint) == (1, True)


async def test_the_board_that_is_refused_is_named(start: Start) -> None:
    api = await start()
    code, output, complaint = await boards(api, "apply", "-", typed='{"first": {}, "second": {"x": 1}, "third": {}}')
    assert (code, output) == (1, "first: made, version 1")
    assert "Refused: second. The boards above are as the file says." in " ".join(complaint.split())
    assert "see 'fields'" not in complaint, "they stand beside it"
    assert await names(api) == ["first", "main"]


async def names(api: Api) -> list[str]:
    return [board["board"] for board in (await api.get("/boards")).json()["boards"]]


async def test_a_file_makes_boards_and_prunes_others(start: Start, tmp_path: Path) -> None:
    api, file = await start(), tmp_path / "boards.json"
    for name in ("old", "older"):
        assert (await api.define({"title": f"The {name} one"}, name)).status_code == 201
    file.write_text(json.dumps({"laps": {"order": "asc"}, "old": {"title": "The old one"}}), "utf-8")
    code, output, complaint = await boards(api, "apply", str(file))
    assert (code, output) == (0, "laps: made, version 1 old: unchanged, version 1"), complaint
    assert await names(api) == ["laps", "main", "old", "older"]
    code, output, complaint = await boards(api, "apply", str(file), "--prune", typed="n\n")
    assert (code, output) == (1, f"Not in {file}: older (The older one)")
    assert "Nothing was changed" in complaint
    code, _, complaint = await boards(api, "apply", "-", "--prune", typed="{}")
    assert (code, "needs --yes" in complaint) == (1, True)
    assert await names(api) == ["laps", "main", "old", "older"]
    code, output, complaint = await boards(api, "apply", str(file), "--prune", typed="y\n")
    assert code == 0, complaint
    assert output.endswith("laps: unchanged, version 1 old: unchanged, version 1 older: deleted")
    assert await names(api) == ["laps", "main", "old"]
    code, output, _ = await boards(api, "apply", "-", "--prune", "--yes", typed="{}")
    assert (code, await names(api)) == (0, ["main"])


async def test_nothing_is_pruned_where_a_rule_is_refused(start: Start, tmp_path: Path) -> None:
    api, file = await start(BOARDS_MAX="1"), tmp_path / "boards.yaml"
    assert (await api.define({}, "old")).status_code == 201
    file.write_text("main: {operator: best}\nnew: {order: asc}\n", "utf-8")
    code, _, complaint = await boards(api, "apply", str(file), "--prune", "--yes")
    assert (code, "fixed_field" in complaint) == (1, True), complaint
    assert await names(api) == ["main", "old"]
    # There is room for the new one only when the old one is gone.
    file.write_text("new: {order: asc}\n", "utf-8")
    code, output, complaint = await boards(api, "apply", str(file), "--prune", "--yes")
    assert (code, output.split(" ", 3)[-1]) == (0, "old old: deleted new: made, version 1"), (output, complaint)
    assert await names(api) == ["main", "new"]


async def test_a_board_is_deleted_once_that_is_meant(start: Start) -> None:
    api = await start()
    assert (await api.define({}, "laps")).status_code == 201
    code, _, complaint = await boards(api, "delete", "laps", typed="n\n")
    assert (code, "Nothing was deleted" in complaint) == (1, True)
    assert await names(api) == ["laps", "main"]
    code, output, complaint = await boards(api, "delete", "laps", "--yes")
    assert (code, output) == (0, "laps: deleted"), complaint
    assert await names(api) == ["main"]
    code, _, complaint = await boards(api, "delete", "laps", "--yes")
    assert (code, "board_not_found" in complaint) == (1, True)
    code, _, complaint = await boards(api, "delete", "main", "--yes")
    assert (code, "main_board" in complaint) == (1, True)
