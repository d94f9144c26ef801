"""`leaderboard migrate` as a process: what it applies, what it leaves out, and when it gives up."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from pathlib import Path

import asyncpg
import redis.asyncio as redis

from leaderboard_core.postgres.migrations import migrate
from tests.conftest import TestDatabases
from tests.support.command import run_command


async def run(url: str, folder: Path, *options: str) -> tuple[int, str]:
    """Run it on one database; return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "leaderboard_cli", "migrate", "--no-create-databases", *options),
        env={"PATH": os.environ["PATH"], "REGIONS": "GLOBAL", "DATABASE_URL_GLOBAL": url, "COLUMNS": "400"},
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_indexes_are_built_or_left_to_the_workers(fresh_database: str, tmp_path: Path) -> None:
    code, said = await run(fresh_database, tmp_path, "--no-indexes")
    assert (code, "0001_leaderboard" in said, "0005_updated_at" in said) == (0, True, False)
    code, said = await run(fresh_database, tmp_path)
    assert code == 0
    assert "GLOBAL: 0005_updated_at" in said
    assert (await run(fresh_database, tmp_path))[1].strip() == "GLOBAL: up to date"


async def test_it_says_who_is_in_the_way_and_gives_up_in_time(fresh_database: str, tmp_path: Path) -> None:
    await migrate(fresh_database, timeout=10)
    dump = await asyncpg.connect(fresh_database, server_settings={"application_name": "pg_dump"})
    try:
        await dump.execute("DELETE FROM schema_migrations WHERE version = 2")
        async with dump.transaction():
            await dump.execute("LOCK TABLE leaderboard IN ACCESS SHARE MODE")
            code, said = await run(fresh_database, tmp_path, "--lock-wait", "1")
        assert code == 1
        assert "migration 0002_protected has waited 1 s and was not applied" in said
        assert f"pg_dump (pid {dump.get_server_pid()})" in said
        assert "Traceback" not in said
    finally:
        await dump.close()


async def test_a_database_that_a_url_names_is_made(
    environ: dict[str, str], test_databases: TestDatabases, redis_1: redis.Redis
) -> None:
    """A region moves to a database that is still to be made; its server answers, and that is enough for a check."""
    name = f"{test_databases.prefix}_{secrets.token_hex(4)}"
    moved = {
        **{variable: value for variable, value in environ.items() if not variable.startswith("DATABASE_URL_")},
        "REGIONS": "GLOBAL",
        "DATABASE_URL_GLOBAL": test_databases.infra.dsn(name),
    }
    code, _, complaint = await run_command("check", "--wait", "1", **moved)
    assert code == 0, complaint
    code, _, complaint = await run_command("migrate", "--no-create-databases", "--wait", "1", **moved)
    assert (code, "does not exist" in complaint) == (1, True)
    code, output, complaint = await run_command("migrate", "--wait", "1", **moved)
    assert (code, "0001_leaderboard" in output) == (0, True), complaint
    await test_databases.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
