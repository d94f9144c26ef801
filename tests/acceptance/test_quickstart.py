"""Test that the blocks of docs/quickstart.md do what the page says, on a new system."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.cluster import REPOSITORY, LocalCluster, local_cluster
from tests.acceptance.test_readme import path_with_curl
from tests.docs.snippets import run, same, snippets

pytestmark = pytest.mark.local_cluster
QUICKSTART = REPOSITORY / "docs" / "quickstart.md"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Run a cluster without other players: the page shows ranks and totals."""
    with local_cluster(tmp_path_factory.mktemp("quickstart") / "data") as running:
        yield running


def test_every_block(fresh: LocalCluster, tmp_path: Path) -> None:
    text = QUICKSTART.read_text("utf-8")
    text = text.replace("http://127.0.0.1:8080", fresh.url).replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    found = snippets(text)
    if not shutil.which("node"):
        # CI sets TEST_QUICKSTART=required, so that there it cannot be left out.
        assert os.environ.get("TEST_QUICKSTART") != "required", "TEST_QUICKSTART=required, and no node on PATH"
        found = [snippet for snippet in found if snippet.language != "js"]
    environ = fresh.environment() | {"PATH": path_with_curl(tmp_path)}
    for snippet, printed in run(found, tmp_path, environ, REPOSITORY):
        assert same(snippet, printed), f"the block at line {snippet.line} of {QUICKSTART.name} prints\n{printed}"
    if not shutil.which("node"):
        pytest.skip("sh and Python ran; no node on PATH for the blocks of JavaScript (Debian: apt-get install nodejs)")


def test_nothing_is_left_out() -> None:
    found = snippets(QUICKSTART.read_text("utf-8"))
    assert [snippet.code for snippet in found if snippet.not_run] == ["make up\n"]
    assert {
        language: sum(snippet.language == language for snippet in found) for language in ("sh", "python", "js")
    } == {
        "sh": 6,
        "python": 5,
        "js": 4,
    }
