"""Test what the `leaderboard` command says of itself, and to the shell."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leaderboard_cli.app import COMMANDS
from leaderboard_client import __version__
from tests.acceptance.cluster import clean_environment
from tests.support.command import run_command

COMMAND = Path(sys.executable).with_name("leaderboard")


async def test_the_version() -> None:
    assert await run_command("--version") == (0, f"leaderboard {__version__}", "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "completed"), [("leaderboard ver", ["verify"]), ("leaderboard seed --rem", ["--remove"])]
)
def test_a_shell_completes_commands_and_options(typed: str, completed: list[str]) -> None:
    script = f"""
        eval "$("{COMMAND}" --show-completion)"
        COMP_WORDS=({typed}) COMP_CWORD={len(typed.split()) - 1}
        _leaderboard_completion "{COMMAND}"
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], env=clean_environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == completed, done.stderr


def test_a_command_waits_for_its_own_imports_only() -> None:
    loads = "import sys; from leaderboard_cli.app import build; build(sys.argv[1]); print('redis' in sys.modules)"

    def imports_redis(name: str) -> bool:
        done = subprocess.run([sys.executable, "-c", loads, name], capture_output=True, text=True, check=True)
        return done.stdout == "True\n"

    assert imports_redis("check")
    assert not any(map(imports_redis, ("up", "token", "status", "--version")))


async def test_every_command_is_listed_and_a_slip_is_noticed() -> None:
    _, listed, _ = await run_command("--help")
    for name in COMMANDS:
        assert name in listed.split()
    code, _, complaint = await run_command("tokn")
    assert code == 2
    assert "Did you mean 'token'?" in complaint
