"""Test that files are small and state their purpose, and that SQL and Lua have their own files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = (
    "api_gateway",
    "leaderboard_cli",
    "leaderboard_client",
    "leaderboard_core",
    "leaderboard_service",
    "worker_service",
)
FILES = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
LARGEST_FILE = 300
SQL_WORDS = ("SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "redis.call")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_modules_docstring_says_what_the_room_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":", "?", "…"))


def test_no_file_has_grown_too_large() -> None:
    lines = {str(path.relative_to(REPOSITORY)): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {file for file in lines if lines[file] > LARGEST_FILE} == set()


def test_sql_and_lua_live_in_files_of_their_own() -> None:
    guilty = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(SQL_WORDS):
                guilty.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}: {node.value[:40]}")
    # A ping is no query.
    assert [entry for entry in guilty if "SELECT 1" not in entry] == []


def test_only_the_map_knows_how_players_are_spread() -> None:
    """Others ask a shard what it holds, and the map which shards; how many there are is nobody's business."""
    knowing = {"partition.py", "shard_map.py", "layout.py"}
    words = ("crc32(user_id", "index_of(", "Partition(", "partition.index", "partition.is_whole")
    guilty = [
        f"{path.relative_to(REPOSITORY)}: {word}"
        for path in FILES
        if path.parent.name != "redis" or path.name not in knowing
        for word in words
        if word in path.read_text("utf-8")
    ]
    assert guilty == []
