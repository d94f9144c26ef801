"""The import rule of the design, and files small enough to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MAY_IMPORT = {
    "leaderboard_core": set[str](),
    "api_gateway": {"leaderboard_core"},
    "leaderboard_service": {"leaderboard_core"},
    "worker_service": {"leaderboard_core"},
    "leaderboard_client": set[str](),
    "leaderboard_cli": {
        *("leaderboard_core", "leaderboard_client", "api_gateway", "leaderboard_service", "worker_service"),
    },
}
FILES = [path for package in MAY_IMPORT for path in sorted((REPOSITORY / package).rglob("*.py"))]
SQL_WORDS = ("SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "redis.call")


def imported_packages(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_module_imports_only_what_its_folder_may(path: Path) -> None:
    package = path.relative_to(REPOSITORY).parts[0]
    ours = imported_packages(path) & MAY_IMPORT.keys()
    assert ours <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_modules_docstring_says_what_the_room_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":", "?", "…"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_file_has_grown_too_large(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 350


def test_sql_and_lua_live_in_files_of_their_own() -> None:
    guilty = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(SQL_WORDS):
                guilty.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}: {node.value[:40]}")
    # A ping is no query of ours.
    assert [entry for entry in guilty if "SELECT 1" not in entry] == []
