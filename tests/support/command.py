"""Run the `leaderboard` command as a user does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from typer.testing import CliRunner

from leaderboard_cli.app import build
from tests.acceptance.cluster import REPOSITORY, clean_environment


async def run_here(environ: Mapping[str, str], *words: str) -> tuple[int, str, str]:
    """Run the command in this process, which is started already; return as `run_command` does."""
    environ = {**environ, "COLUMNS": "200", "LEADERBOARD_DATA_DIR": "/nonexistent"}
    done = await asyncio.to_thread(CliRunner().invoke, build(*words[:1]), words, env=environ)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, " ".join(done.stdout.split()), " ".join(done.stderr.split())


async def run_command(*words: str, typed: str = "", **environ: str) -> tuple[int | None, str, str]:
    """Return exit code, output and error output, on one line each; `typed` is its standard input."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "leaderboard_cli", *words),
        cwd=REPOSITORY,
        env=clean_environment(COLUMNS="200", **environ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await process.communicate(typed.encode())
    return process.returncode, " ".join(output.decode().split()), " ".join(complaint.decode().split())


async def verified(environ: Mapping[str, str]) -> None:
    """Have `leaderboard verify` find no difference."""
    code, output, complaint = await run_here(environ, "verify")
    assert code == 0, output + complaint
