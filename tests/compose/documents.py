"""Run the blocks of docs/operations.md that are for Docker, in their order, as somebody pastes them."""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path

import httpx

from leaderboard_client import Client
from tests.compose.commands import ROOT, StepFailedError, run, say
from tests.compose.stack import COMPOSE_FILE, Stack
from tests.docs.snippets import snippets

WITH_DOCKER = "with docker"
EXAMPLE = "postgresql://postgres:PASSWORD@db.example:5432/leaderboard_eu"
ELSEWHERE = "elsewhere_eu"
BLOCK_SECONDS = 300.0
PASSWORD = "correct horse battery"


def operations_blocks(stack: Stack) -> None:
    """The blocks of docs/operations.md that look, back up and restore."""
    text = _operations()
    end = text.index("\n## ", text.index("\n## Backup and restore\n") + 1)
    _register(stack)
    _run_blocks(stack, text[:end])
    _check_player(stack)


def every_block(stack: Stack) -> None:
    """All blocks of docs/operations.md for Docker, in their order: upgrade, another secret, a moved region …

    They leave the stack with another secret, and EU in another database: the last step.
    """
    text = _operations().replace(EXAMPLE, f"postgresql://postgres:postgres@postgres:5432/{ELSEWHERE}")
    # One replica of each kind shows whether an upgrade's lines work; each takes ten seconds.
    for replicas in ("leaderboard-1 leaderboard-2 leaderboard-3", "api-gateway-1 api-gateway-2 api-gateway-3"):
        if f"in {replicas}; do" not in text:
            raise StepFailedError(f"no block upgrades {replicas}")
        text = text.replace(f"in {replicas}; do", f"in {replicas.split()[0]}; do")
    old_token = _register(stack)
    _run_blocks(stack, text)
    refused = httpx.get(f"{stack.url}/users/olga", headers={"Authorization": f"Bearer {old_token}"}, timeout=20)
    if refused.status_code != 401:
        raise StepFailedError(f"a token of the secret before gets {refused.status_code}, not 401")
    _check_player(stack)
    row = "SELECT score FROM leaderboard WHERE user_id = 'olga'"
    if stack.psql_rows(ELSEWHERE, row) != [["7"]]:
        raise StepFailedError(f"olga is not in {ELSEWHERE}, where EU was moved to")


def _operations() -> str:
    return (ROOT / "docs" / "operations.md").read_text("utf-8")


def _register(stack: Stack) -> str:
    with Client(stack.url) as client:
        client.register("olga", "Olga", "EU", 7, password=PASSWORD)
        return client.token or ""


def _check_player(stack: Stack) -> None:
    with Client(stack.url) as client:
        client.login("olga", password=PASSWORD)
        if (score := client.rank("olga", region="EU").score) != 7:
            raise StepFailedError(f"olga has {score}, not 7")


def _run_blocks(stack: Stack, text: str) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        environ = _environment(stack, folder)
        for snippet in snippets(text):
            if snippet.not_run == WITH_DOCKER:
                say(f"docs/operations.md, line {snippet.line}")
                script = f"cd '{folder}'\n{snippet.code}"
                run(["sh", "-e", "-c", script], env=environ, seconds=BLOCK_SECONDS)
        with tarfile.open(folder / "backups.tar") as copies:
            if not any(name.endswith("/manifest.json") for name in copies.getnames()):
                raise StepFailedError("no backup came out of the volume")


def _environment(stack: Stack, folder: Path) -> dict[str, str]:
    """Return what leads `docker compose` in an empty folder to this stack, with a .env of its own."""
    settings = folder / ".env"
    settings.touch()
    git = folder / "git"
    git.write_text("#!/bin/sh\n")  # there is nothing newer
    git.chmod(0o755)
    return {
        **stack.env,
        "COMPOSE_FILE": str(COMPOSE_FILE),
        "COMPOSE_PROJECT_NAME": stack.name,
        "COMPOSE_ENV_FILES": str(settings),
        "COMPOSE_ANSI": "never",
        "LEADERBOARD_ENV_FILE": str(settings),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
