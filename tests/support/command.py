"""Run the `leaderboard` command as a user does."""

from __future__ import annotations

import asyncio
import sys

from tests.acceptance.cluster import REPOSITORY, clean_environment


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
