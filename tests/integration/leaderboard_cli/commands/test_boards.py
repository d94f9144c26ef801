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
    for said in ("main: version 1", "main: unchanged, version 1"):
        code, output, complaint = await boards(api, "apply", str(file))
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
        ('{"kills": {}}', "'main' only"),
        ('{"title": "x"}', "one object of rules for each board"),
        ("main: {title: x}", "cannot be read as JSON"),
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
