"""Linters that others use find nothing to say about the OpenAPI document."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from leaderboard_service.app import create_app
from tests.acceptance.cluster import clean_environment
from tests.support.service import SECRET, settings_of

FOLDER = Path(__file__).parent


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """The document in a file."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(create_app(settings_of({"JWT_SECRET": SECRET})).openapi()), "utf-8")
    return file


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(REDOCLY_TELEMETRY="off", REDOCLY_SUPPRESS_UPDATE_NOTICE="true")
    command, *arguments = words
    return subprocess.run(
        [str(folder / command), *arguments], cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=120
    )


def test_spectral(document: Path, node_tools: Path) -> None:
    """With the rules for OpenAPI that it recommends."""
    result = run(node_tools, "spectral", "lint", "--ruleset", "spectral.yaml", "--fail-severity=hint", str(document))
    assert result.returncode == 0, result.stdout + result.stderr


def test_redocly(document: Path, node_tools: Path) -> None:
    """With the rules that it recommends."""
    result = run(node_tools, "redocly", "lint", "--format", "json", str(document))
    found = json.loads(result.stdout)
    assert found["problems"] == []
    assert result.returncode == 0, result.stderr
