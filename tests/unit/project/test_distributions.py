"""Test what the two distributions, the system and its client, say of themselves, and what the client imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from leaderboard_client import __version__
from tests.unit.project.test_layout import PACKAGES, REPOSITORY

CLIENT = REPOSITORY / "leaderboard_client"
PROJECTS = {folder: tomllib.loads((folder / "pyproject.toml").read_text("utf-8")) for folder in (REPOSITORY, CLIENT)}


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level packages that a module imports anywhere, late and for types included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield str(node.module).partition(".")[0]


def test_the_client_imports_httpx_and_nothing_else_that_has_to_be_installed() -> None:
    found = {name for path in CLIENT.rglob("*.py") for name in imported(path)}
    assert found - set(sys.stdlib_module_names) == {"leaderboard_client", "httpx"}
    required = [re.split(r"[<>=]", one)[0] for one in PROJECTS[CLIENT]["project"]["dependencies"]]
    assert required == ["httpx"]


def test_both_have_one_version_and_the_system_needs_its_own_client() -> None:
    assert f"leaderboard-client=={__version__}" in PROJECTS[REPOSITORY]["project"]["dependencies"]
    for folder, project in PROJECTS.items():
        assert project["project"]["dynamic"] == ["version"]
        assert (folder / project["tool"]["hatch"]["version"]["path"]).resolve() == CLIENT / "version.py"
        assert metadata.version(project["project"]["name"]) == __version__, "sh .ci/setup"


def test_both_ask_for_the_same_python_and_httpx() -> None:
    system, client = (PROJECTS[folder]["project"] for folder in (REPOSITORY, CLIENT))
    assert system["requires-python"] == client["requires-python"]
    assert set(client["dependencies"]) <= set(system["dependencies"])


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_the_index_is_told_what_it_shows(folder: Path) -> None:
    project: dict[str, Any] = PROJECTS[folder]["project"]
    assert {"description", "readme", "license", "license-files", "authors", "keywords", "classifiers"} <= project.keys()
    pythons = [one for one in project["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert pythons == [f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)]
    assert sorted(project["keywords"]) == project["keywords"]
    assert (folder / "LICENSE").read_text("utf-8") == (REPOSITORY / "LICENSE").read_text("utf-8")


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_the_long_description_needs_no_file_beside_it(folder: Path) -> None:
    text = (folder / PROJECTS[folder]["project"]["readme"]).read_text("utf-8")
    assert re.findall(r"\]\((?!https?:)[^)]*\)|<img", text) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (REPOSITORY / package / "py.typed").is_file()
