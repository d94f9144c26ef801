"""Test `leaderboard backup` and `leaderboard restore` beside a running service and worker."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio as redis
from pydantic import ValidationError

from leaderboard_cli.backup.manifest import NAME, TABLES, TableFile
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from tests.acceptance.cluster import REPOSITORY, clean_environment
from tests.conftest import Start, TestDatabases
from tests.support.command import run_here, verified
from tests.support.entries import Operation, Writer, entry_rows
from tests.support.proxy import proxy
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import drained, push, rows, working

PASSWORD = "correct horse battery"


async def back_up(environ: dict[str, str], folder: Path) -> None:
    code, output, complaint = await run_here(environ, "backup", str(folder))
    assert code == 0, complaint
    assert "read back as written" in output


async def restore(environ: dict[str, str], folder: Path, *options: str) -> str:
    code, output, complaint = await run_here(environ, "restore", str(folder), *options)
    assert code == 0, complaint
    return output


async def refused(environ: dict[str, str], folder: Path, *options: str) -> str:
    code, output, complaint = await run_here(environ, "restore", str(folder), *options)
    assert code == 1, output
    assert "Traceback" not in complaint
    return complaint


async def admitted(api: Api) -> None:
    async def ready() -> bool:
        answer = await api.get("/top")
        return bool(answer.headers.get("X-Leaderboard-Source") != "postgres")

    await eventually(ready, "an admitted Redis")


async def test_a_system_goes_back_to_where_it_was(
    start: Start,
    sharded_environ: dict[str, str],
    databases: RegionDatabases,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
    tmp_path: Path,
) -> None:
    """Scores, players and passwords are those of the backup; who was deleted since stays deleted."""
    api = await start(layout="two-redis")
    folder = tmp_path / "backup"
    async with working(sharded_environ, heartbeats=True):
        alice = await api.register("alice", "ASIA", 10, name='Älice, "A" \\N', password=PASSWORD)
        bob = await api.register("bob", "EU", 20)
        await api.register("carl", "NA", 30)
        await api.delete("carl")
        await back_up(sharded_environ, folder)
        await redis_1.set("somebody:else", "1")
        await redis_1.set("boards-of-wood", "1")
        await redis_1.set("deleted:in-our-sense", "no")
        await redis_1.hset("deleted:as-a-hash", "deleted", "no")
        rewrites = (await redis_1.config_get("auto-aof-rewrite-percentage"))["auto-aof-rewrite-percentage"]
        # As a rebuild leaves it that is killed.
        await redis_1.set("shard:rebuild:rewrites", "77")
        await redis_1.config_set("auto-aof-rewrite-percentage", "0")
        await api.post("/score/update", {"score": 99}, token=alice, key="match-1")
        await api.register("dora", "GLOBAL", 40)
        await api.delete("bob")
        await drained(redis_1, redis_2)

        said = await refused(sharded_environ, folder)
        assert "--replace" in said
        assert (await api.get("/rank/alice")).json()["score"] == 99

        said = await restore(sharded_environ, folder, "--replace")
        assert "1 players are restored" in said
        assert "1 of the backup were deleted since" in said
        # Each by the clock of its own Redis, which was asked at another moment.
        asked = "SELECT nonce FROM admissions WHERE region = '*restored'"
        undone = {region: await databases[region].fetchval(asked) for region in databases.regions}
        assert undone["ASIA"] == undone["NA"] == undone["GLOBAL"] != undone["EU"]
        await admitted(api)
        assert await api.scores() == {"alice": 10}
        assert (await api.get("/rank/alice")).json()["name"] == 'Älice, "A" \\N'
        for gone in ("bob", "carl", "dora"):
            assert (await api.get(f"/rank/{gone}")).status_code == 404
        assert (await api.login("alice", password=PASSWORD)).status_code == 200
        assert (await api.post("/score/add", {"delta": 1}, token=bob)).status_code in (401, 404)
        # The same key counts again: the write that it stood for was undone.
        again = await api.post("/score/update", {"score": 99}, token=alice, key="match-1")
        assert again.json()["score"] == 99
        assert await redis_1.mget("somebody:else", "boards-of-wood") == ["1", "1"]
        given_back = await redis_1.config_get("auto-aof-rewrite-percentage")
        await redis_1.config_set("auto-aof-rewrite-percentage", str(rewrites))
        assert given_back == {"auto-aof-rewrite-percentage": "77"}
        await drained(redis_1, redis_2)
        await verified(sharded_environ)
    await redis_1.delete("somebody:else")


async def test_an_empty_system_needs_no_option(
    start: Start,
    environ: dict[str, str],
    databases: RegionDatabases,
    redis_1: redis.Redis,
    test_databases: TestDatabases,
    tmp_path: Path,
) -> None:
    """A new machine, and no worker yet: the command fills Redis itself."""
    api = await start()
    async with working(environ):
        for number in range(300):
            await api.register(f"player-{number}", ("ASIA", "EU", "NA", "GLOBAL")[number % 4], number)
        await drained(redis_1)
    before = await api.top()
    (tmp_path / "backup").mkdir(mode=0o755)
    await back_up(environ, tmp_path / "backup")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "backup").iterdir()} == {0o600}
    await redis_1.flushdb()
    await test_databases.empty()
    assert "300 players are restored" in await restore(environ, tmp_path / "backup")
    after = await api.top()
    assert (after["total"], after["rows"]) == (300, before["rows"])
    await verified(environ)


async def test_entries_come_back_and_a_backup_from_before_there_were_any_has_none(
    environ: dict[str, str],
    databases: RegionDatabases,
    all_redis: redis.Redis,
    test_databases: TestDatabases,
    tmp_path: Path,
) -> None:
    writer, folder = Writer("alice"), tmp_path / "backup"
    plan: list[Operation] = [("main", 0, 1), ("submit", 17, 2), ("submit", 18, 5), ("remove", 18, 0)]
    for operation in plan:
        writer.do(operation)
    async with working(environ):
        await push(all_redis, *writer.events)
        await drained(all_redis)
    expected = {("alice", board_id): state for board_id, state in writer.entries.items()}
    assert await entry_rows(databases["EU"]) == expected
    await back_up(environ, folder)
    await databases["EU"].execute("DELETE FROM leaderboard")
    assert "--replace" in await refused(environ, folder), "entries alone would be replaced as well"
    await all_redis.flushdb()
    await test_databases.empty()
    await restore(environ, folder)
    assert await entry_rows(databases["EU"]) == expected
    manifest = json.loads((folder / NAME).read_text("utf-8"))
    for database in manifest["databases"]:
        database["tables"] = [table for table in database["tables"] if table["table"] != "entries"]
    (folder / NAME).write_text(json.dumps(manifest), "utf-8")
    assert "does not have the tables" in await refused(environ, folder, "--replace")
    for database in manifest["databases"]:
        database["tables"] = [table for table in database["tables"] if "boards" not in table["table"]]
    (folder / NAME).write_text(json.dumps({**manifest, "schema_version": 7}), "utf-8")
    await restore(environ, folder, "--replace")
    assert set(await rows(databases)) == {"alice"}
    assert await entry_rows(databases["EU"]) == {}


async def test_a_damaged_backup_changes_nothing(
    start: Start, environ: dict[str, str], redis_1: redis.Redis, tmp_path: Path
) -> None:
    api, folder = await start(), tmp_path / "backup"
    async with working(environ):
        await api.register("alice", "EU", 10)
        await back_up(environ, folder)
        await drained(redis_1)
    assert "is whole" in await restore(environ, folder, "--check")
    assert "--replace" in await refused(environ, folder)

    manifest = json.loads((folder / NAME).read_text("utf-8"))

    def changed(**fields: Any) -> None:
        (folder / NAME).write_text(json.dumps({**manifest, **fields}), "utf-8")

    changed(schema_version=999)
    assert "newer version" in await refused(environ, folder, "--replace")
    changed(databases=manifest["databases"][1:])
    assert "Set REGIONS" in await refused(environ, folder, "--replace")
    wrong = json.loads(json.dumps(manifest["databases"]))
    eu = next(one for one in wrong if one["regions"] == ["EU"])
    next(one for one in eu["tables"] if one["table"] == "leaderboard")["rows"] = 2
    changed(databases=wrong)
    assert "has 1 rows, and its manifest says 2" in await refused(environ, folder, "--replace")
    (folder / NAME).write_text("{", "utf-8")
    assert "damaged" in await refused(environ, folder, "--replace")
    changed()
    path = folder / "EU.leaderboard.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    (folder / "NA.accounts.csv.gz").unlink()
    said = await refused(environ, folder, "--replace")
    assert "EU.leaderboard.csv.gz: the checksum" in said
    assert "NA.accounts.csv.gz: No such file" in said
    (folder / NAME).unlink()
    assert "interrupted" in await refused(environ, folder, "--replace")
    code, _, complaint = await run_here(environ, "backup", str(folder))
    assert code == 1
    assert "not empty" in complaint
    assert (await api.get("/rank/alice")).json()["score"] == 10
    async with working(environ, heartbeats=True):
        await admitted(api)
        await api.register("bob", "EU", 1)
        await drained(redis_1)
    await verified(environ)


async def test_one_that_ends_between_two_databases_is_not_served(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, tmp_path: Path
) -> None:
    """No Redis is admitted until the command has been run again."""
    api, folder = await start(), tmp_path / "backup"
    async with working(environ, heartbeats=True), proxy(environ["DATABASE_URL_GLOBAL"]) as between:
        alice = await api.register("alice", "EU", 10)
        await api.register("zoe", "GLOBAL", 10)
        await back_up(environ, folder)
        await api.post("/score/update", {"score": 99}, token=alice)
        await drained(redis_1)
        between.hold_when(b"COMMIT")
        slow = {**environ, "DATABASE_URL_GLOBAL": between.url, "POSTGRES_TIMEOUT_SECONDS": "2"}
        restoring = asyncio.create_task(run_here(slow, "restore", str(folder), "--replace"))
        await eventually(lambda: bool(between.held_bytes), "the last commit on its way", seconds=30)

        commit = between.held_bytes

        async def longer_than_other_statements() -> bool:
            asked = (
                "SELECT now() - state_change > INTERVAL '2.5 s' FROM pg_stat_activity "
                "WHERE datname = current_database() AND state = 'idle in transaction'"
            )
            return restoring.done() or await databases["GLOBAL"].fetchval(asked)

        await eventually(longer_than_other_statements, "a commit that takes its time")
        assert between.held_bytes == commit  # and no request to cancel it
        assert not restoring.done()
        between.held_bytes = b""
        await between.cut()
        code, _, complaint = await restoring
        assert (code, "run the same command again" in complaint) == (1, True), complaint
        assert "ASIA, EU, NA" in complaint
        # The worker has tried to admit it in the meantime, more than once.
        refused_write = await api.post("/score/add", {"delta": 1}, token=alice)
        assert (refused_write.status_code, refused_write.json()["error"]) == (503, "warming_up")

        async def explained() -> bool:
            code, _, complaint = await run_here(environ, "rebuild")
            assert code == 1
            return "`leaderboard restore --abandon`" in complaint  # else the worker has the lock just now

        await eventually(explained, "why no Redis is admitted")
        # One that cannot even begin leaves it so.
        assert "manifest" in await refused(environ, tmp_path)
        assert (await api.post("/score/add", {"delta": 1}, token=alice)).status_code == 503

        await restore(environ, folder)
        await admitted(api)
        assert await api.scores() == {"alice": 10, "zoe": 10}
        await drained(redis_1)
        await verified(environ)


async def marks(databases: RegionDatabases) -> set[str]:
    """Return the first words of what the databases say of a restore that has not ended."""
    asked = "SELECT nonce FROM admissions WHERE region = '*restoring'"
    found = [await pool.fetchval(asked) for pool in databases.distinct()]
    return {mark.split()[0] for mark in found if mark is not None}


async def test_a_commit_whose_answer_is_lost_counts(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, tmp_path: Path
) -> None:
    """It is the first of them, and done: only the same restore goes on, which needs no --replace."""
    api, folder = await start(), tmp_path / "backup"
    async with working(environ, heartbeats=True), proxy(environ["DATABASE_URL_ASIA"]) as between:
        alice = await api.register("alice", "EU", 10)
        await api.register("ann", "ASIA", 10)
        await back_up(environ, folder)
        await api.post("/score/update", {"score": 99}, token=alice)
        await drained(redis_1)
        await back_up(environ, tmp_path / "later")
        between.hold_when(b"COMMIT")
        slow = {**environ, "DATABASE_URL_ASIA": between.url}
        restoring = asyncio.create_task(run_here(slow, "restore", str(folder), "--replace"))
        await eventually(lambda: bool(between.held_bytes), "the first commit on its way", seconds=30)
        between.hold_answers()
        between.release()

        async def committed() -> bool:
            return await marks(databases) == {"begun", "committed"}

        await eventually(committed, "the commit")
        await between.cut()
        code, _, complaint = await restoring
        assert (code, "That of ASIA may be" in complaint) == (1, True), complaint
        assert (await api.post("/score/add", {"delta": 1}, token=alice)).status_code == 503

        code, output, complaint = await run_here(environ, "restore", "--abandon")
        assert (code, "run the same command again" in complaint) == (1, True), output
        assert "with the same options" in await refused(environ, folder, "--only", "EU", "--keep-redis")
        assert "with the same options" in await refused(environ, folder, "--keep-redis")
        assert "--replace" in await refused(environ, tmp_path / "later")
        assert await marks(databases) == {"begun", "committed"}
        await restore(environ, folder)
        assert await marks(databases) == set()
        await admitted(api)
        assert await api.scores() == {"alice": 10, "ann": 10}
        await drained(redis_1)
        await verified(environ)


async def test_one_that_is_killed_before_it_has_changed_anything_is_called_off(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, tmp_path: Path
) -> None:
    """SIGTERM does that by itself; after SIGKILL the next one still asks for --replace, and --abandon ends it."""
    api, folder = await start(), tmp_path / "backup"
    async with working(environ):
        alice = await api.register("alice", "EU", 10)
        await back_up(environ, folder)

    async def begun() -> bool:
        return await marks(databases) == {"begun"}

    for number in (signal.SIGTERM, signal.SIGKILL):
        # So it waits for the end of a rebuild.
        await redis_1.set("shard:rebuild", "another", px=60_000)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "leaderboard_cli", "restore", str(folder), "--replace"),
            cwd=REPOSITORY,
            env=clean_environment(**environ),
            stderr=asyncio.subprocess.PIPE,
        )
        await eventually(begun, "the mark", seconds=30)
        process.send_signal(number)
        _, said = await process.communicate()
        await redis_1.delete("shard:rebuild")
        if number == signal.SIGTERM:
            assert (process.returncode, b"Nothing was changed" in said) == (1, True), said
            assert await marks(databases) == set()
    assert await marks(databases) == {"begun"}
    assert "--replace" in await refused(environ, folder)
    code, output, complaint = await run_here(environ, "restore", "--abandon")
    assert (code, "called off" in output) == (0, True), complaint
    assert await marks(databases) == set()
    assert "No restore is under way" in (await run_here(environ, "restore", "--abandon"))[1]
    assert (await api.post("/score/add", {"delta": 1}, token=alice)).status_code == 200
    assert (await run_here(environ, "restore"))[0] == 2


async def test_a_mark_that_cannot_be_taken_away_is_told(
    start: Start, environ: dict[str, str], databases: RegionDatabases, tmp_path: Path
) -> None:
    """A database goes away while the marks are made."""
    api, folder = await start(), tmp_path / "backup"
    async with working(environ), proxy(environ["DATABASE_URL_GLOBAL"]) as between:
        await api.register("alice", "EU", 10)
        await back_up(environ, folder)
        between.hold_when(b"begun")
        broken = {**environ, "DATABASE_URL_GLOBAL": between.url}
        restoring = asyncio.create_task(run_here(broken, "restore", str(folder), "--replace"))
        await eventually(lambda: bool(between.held_bytes), "the mark on its way", seconds=30)
        between.held_bytes = b""
        await between.cut()
        code, _, complaint = await restoring
        assert (code, "Nothing was changed" in complaint) == (1, True), complaint
        assert "restore --abandon" in complaint
        assert (await run_here(environ, "restore", "--abandon"))[0] == 0
        assert await marks(databases) == set()


async def test_a_page_that_cannot_be_read_changes_nothing(
    start: Start, environ: dict[str, str], databases: RegionDatabases, tmp_path: Path
) -> None:
    api, folder = await start(), tmp_path / "backup"
    async with working(environ, heartbeats=True), proxy(environ["DATABASE_URL_EU"]) as between:
        await api.register("alice", "EU", 10)
        await back_up(environ, folder)
        between.hold_when(b"FROM deleted_players")
        broken = {**environ, "DATABASE_URL_EU": between.url, "POSTGRES_TIMEOUT_SECONDS": "60"}
        restoring = asyncio.create_task(run_here(broken, "restore", str(folder), "--replace"))
        await eventually(lambda: bool(between.held_bytes), "the question for deletions", seconds=30)
        await databases["EU"].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        between.release()
        code, _, complaint = await restoring
        assert (code, "Nothing was changed" in complaint) == (1, True), complaint
        assert "cannot call" not in complaint  # which is what a roll-back without a connection says
        assert await marks(databases) == set()
        await admitted(api)
        assert await api.scores() == {"alice": 10}


async def test_a_redis_that_goes_away_afterwards_makes_no_failure(
    start: Start,
    environ: dict[str, str],
    databases: RegionDatabases,
    redis_1: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, folder = await start(), tmp_path / "backup"
    async with working(environ):
        await api.register("alice", "EU", 10)
        await back_up(environ, folder)
        await drained(redis_1)
    monkeypatch.setattr("leaderboard_cli.commands.restore._ADMISSION_SECONDS", 0.5)
    async with proxy(environ["REDIS_URL"]) as to_redis, proxy(environ["DATABASE_URL_ASIA"]) as between:
        between.hold_when(b"DELETE FROM admissions")
        slow = {
            **environ,
            "DATABASE_URL_ASIA": between.url,
            "REDIS_URL": to_redis.url,
            "POSTGRES_TIMEOUT_SECONDS": "60",
        }
        restoring = asyncio.create_task(run_here(slow, "restore", str(folder), "--replace"))
        await eventually(lambda: bool(between.held_bytes), "the end of the mark", seconds=30)
        await to_redis.cut()
        between.release()
        code, output, complaint = await restoring
        assert (code, "1 players are restored" in output) == (0, True), complaint
        assert "is not filled yet" in complaint
    assert await marks(databases) == set()


async def test_a_user_who_may_not_scan_is_told_at_once(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, tmp_path: Path
) -> None:
    """With --keep-redis too, where players were deleted."""
    api, folder = await start(), tmp_path / "backup"
    async with working(environ):
        alice = await api.register("alice", "EU", 10)
        await api.register("bob", "EU", 20)
        await back_up(environ, folder)
        await api.delete("bob")
        await drained(redis_1)
    await redis_1.acl_setuser("no-scan", enabled=True, passwords="+secret", keys="*", commands=["+@all", "-scan"])
    try:
        parts = urlsplit(environ["REDIS_URL"])
        url = parts._replace(netloc=f"no-scan:secret@{parts.hostname}:{parts.port}").geturl()
        for options in (("--replace",), ("--replace", "--keep-redis")):
            assert "Nothing was changed" in await refused({**environ, "REDIS_URL": url}, folder, *options)
            assert await marks(databases) == set()
            assert (await api.post("/score/add", {"delta": 1}, token=alice)).status_code == 200
    finally:
        await redis_1.acl_deluser("no-scan")


async def test_a_batch_in_a_workers_hands_does_not_come_back(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, tmp_path: Path
) -> None:
    """It was taken before the restore, and is refused after it: its writes are among those that were undone."""
    api, folder = await start(), tmp_path / "backup"
    async with working(environ):
        alice = await api.register("alice", "EU", 10)
        await drained(redis_1)
    await back_up(environ, folder)
    async with proxy(environ["DATABASE_URL_EU"]) as between:
        slow = {**environ, "DATABASE_URL_EU": between.url, "POSTGRES_TIMEOUT_SECONDS": "60"}
        async with working(slow):
            between.hold_when(b"BEGIN")
            await api.post("/score/update", {"score": 99}, token=alice)
            await eventually(lambda: bool(between.held_bytes), "the upsert on its way")
            await restore(environ, folder, "--replace")
            between.release()
            # The consumer gives back before it takes anything else.
            await api.register("bob", "EU", 1)

            async def saved() -> bool:
                return "bob" in await rows(databases)

            await eventually(saved, "the write after the restore")
            await drained(redis_1)
    assert await api.scores() == {"alice": 10, "bob": 1}
    await verified(environ)


async def test_redis_may_keep_what_is_newer(
    start: Start, environ: dict[str, str], redis_1: redis.Redis, test_databases: TestDatabases, tmp_path: Path
) -> None:
    """Postgres was lost and Redis was not: the backup fills what Redis lacks, and Redis gives what is newer."""
    api, folder = await start(), tmp_path / "backup"
    async with working(environ):
        alice = await api.register("alice", "EU", 10)
        await api.register("bob", "EU", 20)
        await drained(redis_1)
        await back_up(environ, folder)
        await api.post("/score/update", {"score": 99}, token=alice)
        await drained(redis_1)
    await test_databases.empty()
    await redis_1.delete("user:bob")
    await redis_1.zrem("leaderboard:EU", "bob")
    await redis_1.zrem("leaderboard:GLOBAL", "bob")
    assert "--keep-redis" in await refused(environ, folder)
    assert "verify --repair" in await restore(environ, folder, "--keep-redis")
    assert await api.scores() == {"alice": 99, "bob": 20}
    async with working(environ):
        code, output, complaint = await run_here(environ, "verify", "--repair")
        assert code == 0, output + complaint
        await drained(redis_1)
    await verified(environ)


async def test_one_region_alone(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, tmp_path: Path
) -> None:
    """Its database was moved, and is empty: those of the others keep what came since."""
    api, folder = await start(), tmp_path / "backup"
    async with working(environ, heartbeats=True):
        alice = await api.register("alice", "EU", 10, password=PASSWORD)
        await api.register("nora", "NA", 20, password=PASSWORD)
        await back_up(environ, folder)
        await databases["EU"].execute("DELETE FROM leaderboard; DELETE FROM accounts")
        await api.register("nils", "NA", 30, password=PASSWORD)
        assert "--keep-redis" in await refused(environ, folder, "--only", "eu")
        assert "no region MARS" in await refused(environ, folder, "--keep-redis", "--only", "MARS")
        await restore(environ, folder, "--keep-redis", "--only", "eu")
        await admitted(api)
        await api.post("/score/add", {"delta": 1}, token=alice)
        await drained(redis_1)
        await verified(environ)
    assert await api.scores() == {"alice": 11, "nora": 20, "nils": 30}
    for player in ("alice", "nora", "nils"):
        assert (await api.login(player, password=PASSWORD)).status_code == 200


async def test_what_a_worker_has_not_saved_is_said(start: Start, environ: dict[str, str], tmp_path: Path) -> None:
    api = await start()
    await api.register("alice", "EU", 10)
    code, _, complaint = await run_here(environ, "backup", str(tmp_path / "backup"), "--wait", "0.2")
    assert code == 0
    assert "1 events behind" in complaint
    assert json.loads((tmp_path / "backup" / NAME).read_text("utf-8"))["lacking"] == 1
    _, _, complaint = await run_here(environ, "restore", "--check", str(tmp_path / "backup"))
    assert "1 events from before it began are not in it" in complaint
    await back_up({**environ, "REDIS_URL": "redis://127.0.0.1:1/0"}, tmp_path / "alone")
    _, _, complaint = await run_here(environ, "restore", "--check", str(tmp_path / "alone"))
    assert "Redis did not answer when it was made" in complaint


async def test_one_that_fails_at_once_leaves_nothing_that_looks_like_the_newest(
    environ: dict[str, str], databases: RegionDatabases, tmp_path: Path
) -> None:
    away = {name: "postgresql://postgres@127.0.0.1:1/away" for name in environ if name.startswith("DATABASE_URL_")}
    given = tmp_path / "given"
    given.mkdir()
    for folder in (tmp_path / "backups" / "1", given):
        code, _, complaint = await run_here({**environ, **away}, "backup", str(folder))
        assert (code, "No backup was made" in complaint) == (1, True)
    assert list((tmp_path / "backups").iterdir()) == []
    assert given.is_dir(), "it is not ours"


async def test_no_table_is_forgotten(databases: RegionDatabases) -> None:
    found = await databases["EU"].fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    left_out = {"schema_migrations", "migration_lease", "admissions", "known_regions"}
    assert {row["tablename"] for row in found} == {*TABLES, *left_out}


@pytest.mark.parametrize("text", ["x.csv.gz/../y", "../x.csv.gz", "/etc/passwd"])
async def test_files_are_those_of_the_folder(text: str) -> None:
    with pytest.raises(ValidationError):
        TableFile(table="accounts", file=text, columns=(), rows=0, sha256="")


async def test_the_rules_of_boards_go_back_as_well(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, tmp_path: Path
) -> None:
    api = await start()
    async with working(environ, heartbeats=True):
        alice = await api.register("alice", "EU", 10)
        assert (await api.define({"title": "Season 3", "max_score": 50})).status_code == 200
        await drained(redis_1)
        await back_up(environ, tmp_path / "backup")
        for title in ("Season 4", "Season 5"):
            assert (await api.define({"title": title, "open": False})).status_code == 200
        await restore(environ, tmp_path / "backup", "--replace")
        await admitted(api)
        assert (await api.get("/boards/main")).json()["definition"]["title"] == "Season 3"
        refused_score = await api.post("/score/update", {"score": 51}, token=alice)
        assert (refused_score.status_code, refused_score.json()["error"]) == (422, "score_out_of_bounds")
        assert (await api.post("/score/update", {"score": 50}, token=alice)).status_code == 200


async def test_no_id_of_a_board_is_given_out_again_after_a_restore(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, tmp_path: Path
) -> None:
    """Also where the database is another one, whose sequence begins anew."""
    api, pool = await start(), databases["GLOBAL"]
    headers = {"Authorization": f"Bearer {api.admin_token()}"}
    async with working(environ, heartbeats=True):
        for name in ("kills", "laps", "old"):
            assert (await api.define({"title": name}, name)).status_code == 201
        assert (await api.http.delete("/boards/old", headers=headers)).status_code == 200
        await back_up(environ, tmp_path / "backup")
        assert "the database of" in await refused(environ, tmp_path / "backup")
        assert (await api.define({}, "since")).status_code == 201
        assert (await api.http.delete("/boards/kills", headers=headers)).status_code == 200
        await pool.execute("ALTER SEQUENCE board_ids RESTART; DELETE FROM dead_boards")
        await restore(environ, tmp_path / "backup", "--replace")
        await admitted(api)
        assert [board["board"] for board in (await api.get("/boards")).json()["boards"]] == ["kills", "laps", "main"]
        assert await redis_1.get("board:kills") == "1 1"
        assert [row["id"] for row in await pool.fetch("SELECT id FROM dead_boards")] == [3]
        for name in ("since", "old"):
            assert (await api.define({}, name)).status_code == 201
        assert await redis_1.get("board:since") == "4 1"
        assert await redis_1.get("board:old") == "5 1"


async def test_a_backup_from_before_there_were_definitions_is_without_any(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, tmp_path: Path
) -> None:
    api, folder = await start(), tmp_path / "backup"
    async with working(environ, heartbeats=True):
        await api.register("alice", "EU", 10)
        await drained(redis_1)
        await back_up(environ, folder)
        manifest = json.loads((folder / NAME).read_text("utf-8"))
        before = next(one.version for one in sql.migrations() if one.name == "boards") - 1
        without = [
            {**database, "tables": [table for table in database["tables"] if "boards" not in table["table"]]}
            for database in manifest["databases"]
        ]
        (folder / NAME).write_text(json.dumps({**manifest, "databases": without}), "utf-8")
        assert "does not have the tables" in await refused(environ, folder, "--replace")
        older = {**manifest, "databases": without, "schema_version": before}
        (folder / NAME).write_text(json.dumps(older), "utf-8")
        assert (await api.define({"title": "Season 3", "open": False})).status_code == 200
        await restore(environ, folder, "--replace")
        await admitted(api)
        assert (await api.get("/boards/main")).json()["definition"]["open"] is True
        assert await api.scores() == {"alice": 10}
