"""A command beside a data folder in which nothing runs: somebody's servers on the usual ports are not the system's."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboard_cli.app import COMMANDS
from leaderboard_cli.cluster.secret_files import JWT_SECRET
from tests.integration.api_gateway.support import refusing_port
from tests.support.command import run_command
from tests.support.service import SECRET

STORE_COMMANDS = [
    *(("check",), ("check-queue",), ("migrate",), ("verify",), ("rebuild",), ("regions", "list")),
    *(("dead-letters", "list"), ("backup", "there"), ("repartition", "redis://a")),
]
API_COMMANDS = [("seed", "5"), ("players", "secret", "alice"), ("boards", "list"), ("status", "--once")]


@pytest.mark.parametrize("words", STORE_COMMANDS, ids=" ".join)
async def test_what_opens_stores_says_that_nothing_runs(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / JWT_SECRET).write_text(SECRET)
    code, _, complaint = await run_command(*words, LEADERBOARD_DATA_DIR=str(tmp_path))
    assert code == 1, complaint
    assert complaint.startswith(f"Nothing runs in {tmp_path}. Start the system with")
    assert "Idempotency-Key" not in complaint


@pytest.mark.parametrize("words", [("token", "ada"), *API_COMMANDS[:3]], ids=" ".join)
async def test_before_the_first_start_nobody_is_told_to_make_a_secret(tmp_path: Path, words: tuple[str, ...]) -> None:
    code, _, complaint = await run_command(*words, LEADERBOARD_DATA_DIR=str(tmp_path))
    assert code == 1
    assert complaint.startswith(f"There is no secret in {tmp_path}: ")
    assert "up' makes one when it starts" in complaint


async def test_a_check_before_the_first_start_asks_for_no_secret(tmp_path: Path) -> None:
    code, _, complaint = await run_command("check", LEADERBOARD_DATA_DIR=str(tmp_path))
    assert code == 1
    assert complaint.startswith(f"Nothing runs in {tmp_path}. ")
    code, _, complaint = await run_command("check", LEADERBOARD_DATA_DIR=str(tmp_path), REDIS_URL="redis://127.0.0.1/0")
    assert code == 1
    assert complaint.startswith("JWT_SECRET: is not set.")


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", ":8080", "http://", "http://[::1", "http://h:99999"])
@pytest.mark.parametrize("words", API_COMMANDS, ids=" ".join)
async def test_what_is_no_address_is_told(tmp_path: Path, words: tuple[str, ...], url: str) -> None:
    code, _, complaint = await run_command(*words, "--url", url, JWT_SECRET=SECRET)
    assert (code, complaint) == (1, f"--url: {url!r} is no URL such as http://127.0.0.1:8080")
    code, _, complaint = await run_command(
        *words, JWT_SECRET=SECRET, LEADERBOARD_URL="[::1]:80", LEADERBOARD_DATA_DIR=str(tmp_path)
    )
    assert (code, complaint) == (1, "LEADERBOARD_URL: '[::1]:80' is no URL such as http://127.0.0.1:8080")


async def test_support_is_told_at_once_that_nothing_answers() -> None:
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}"
        code, _, complaint = await run_command("players", "secret", "alice", "--url", url, JWT_SECRET=SECRET)
    assert code == 1
    assert complaint.startswith(f"Cannot reach {url}: ")


def test_every_command_is_one_or_the_other() -> None:
    others = {"up", "reset", "token", "restore"}  # the last one reads a backup first
    assert others | {words[0] for words in (*STORE_COMMANDS, *API_COMMANDS)} == set(COMMANDS) - {"healthcheck"}
