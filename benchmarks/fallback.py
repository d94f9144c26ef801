"""Measure board reads from Postgres, which answer while Redis is away: one by one, and by 64 readers at once.

    make bench-fallback                                       # 1,000,000 and 10,000,000 players; a quarter of an hour
    python -m benchmarks.fallback --players 100000 --seconds 3

One process with the default pool reads a board of one region, on a Postgres as `leaderboard up` starts it. "Quiet" is a
Postgres that nobody writes to, as when the only Redis is away; "written" one that commits 20 changed scores a second.
A reader who is refused comes back after `retry_after`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.machine import machine_facts
from benchmarks.material import FILL
from benchmarks.recovery import console
from benchmarks.report import RESULTS, fallback_tables, rich_table
from leaderboard_cli.cluster.binaries import Servers, find_postgres
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.server import running
from leaderboard_core.boards import Place
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.migrations import migrate_all
from leaderboard_core.settings import TopologySettings, load
from leaderboard_service.boards.postgres_boards import PostgresBoards
from leaderboard_service.boards.ranges import BoardRange, Point

REGION = "EU"
HERE: Final = Place.on_main(REGION)
READERS = 64
WRITES_PER_SECOND = 20
MOST_SECONDS_PER_READ = 10.0


@dataclass
class Load:
    """What readers at once saw: seconds of each answer and of each refusal."""

    seconds: float
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, float]:
        calls = len(self.answered) + len(self.refused)
        ordered = sorted(self.answered) or [float("nan")]
        return {
            "answers_per_second": len(self.answered) / self.seconds,
            "p50_ms": 1000 * statistics.median(ordered),
            "p99_ms": 1000 * ordered[int(0.99 * (len(ordered) - 1))],
            "refused_share": len(self.refused) / calls if calls else 0.0,
            "longest_refusal_ms": 1000 * max(self.refused, default=0.0),
        }


@contextmanager
def postgres(data: Path | None) -> Iterator[dict[str, str]]:
    """Run Postgres; yield the environment that names it. Data in a folder of one's own stay for the next run."""
    with tempfile.TemporaryDirectory() as name:
        folder = data or Path(name)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        (port,) = find_free_ports(1)
        with running(PostgresServer(find_postgres(Servers.WHEELS), folder, port)):
            yield {"POSTGRES_PORT": str(port)}


@asynccontextmanager
async def loaded(environ: dict[str, str], players: int) -> AsyncIterator[RegionDatabases]:
    """Open databases with so many players, the index and the visibility map up to date."""
    topology = load(TopologySettings, {**environ, f"PG_DATABASE_{REGION}": f"leaderboard_{players}"})
    await migrate_all(topology)
    databases = await RegionDatabases.open(topology)
    try:
        async with databases[REGION].acquire() as connection:
            if await connection.fetchval("SELECT count(*) FROM leaderboard", timeout=600) != players:
                console.print(f"loading {players:,} players …")
                await connection.execute("TRUNCATE leaderboard")
                await connection.execute(FILL, players, REGION, timeout=3600)
            await connection.execute("VACUUM ANALYZE leaderboard", timeout=3600)
        yield databases
    finally:
        await databases.close()


def single_reads(boards: PostgresBoards, players: int, at: dict[str, Point]) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return the reads to be timed, each by its name."""
    middle = at["middle"]
    return {
        "top 100": partial(boards.top, HERE, 100, 0),
        "top 100 after half of the board": partial(boards.top, HERE, 100, players // 2),
        **{f"rank, {name}": partial(boards.rank, HERE, place.member) for name, place in at.items()},
        "rank on GLOBAL, middle": partial(boards.rank, Place.on_main("GLOBAL"), middle.member),
        "around 10, middle": partial(boards.around, HERE, middle.member, 10),
        "page after a cursor, middle": partial(boards.page, HERE, BoardRange(after=middle), 100),
        "range of scores, middle": partial(boards.page, HERE, BoardRange(high=middle.key), 100),
        "range of ranks, middle": partial(boards.page, HERE, BoardRange(first=players // 2), 100),
    }


async def time_read(read: Callable[[], Awaitable[Any]], most: int = 20) -> dict[str, float] | None:
    """Time one read by itself, up to `most` times; None when it is refused each time."""
    found: list[float] = []
    until = time.perf_counter() + MOST_SECONDS_PER_READ
    while len(found) < most and time.perf_counter() < until:
        started = time.perf_counter()
        try:
            await read()
        except Unavailable:
            continue
        found.append(1000 * (time.perf_counter() - started))
    return {"median_ms": statistics.median(found), "longest_ms": max(found)} if found else None


async def many_readers(boards: PostgresBoards, players: int, seconds: float) -> Load:
    """Read with READERS at once: half ranks of any players, a quarter tops, a quarter neighbourhoods."""
    load_seen = Load(seconds)
    ends = time.perf_counter() + seconds

    async def read_on(number: int) -> None:
        chance = random.Random(number)
        while (started := time.perf_counter()) < ends:
            user_id = f"eu-{chance.randrange(players):08d}"
            read = chance.choice(
                (
                    partial(boards.rank, HERE, user_id),
                    partial(boards.rank, HERE, user_id),
                    partial(boards.top, HERE, 100, 0),
                    partial(boards.around, HERE, user_id, 10),
                )
            )
            try:
                await read()
            except Unavailable as error:
                load_seen.refused.append(time.perf_counter() - started)
                await asyncio.sleep(error.retry_after)
            else:
                load_seen.answered.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*map(read_on, range(READERS)))
    load_seen.seconds = time.perf_counter() - started
    return load_seen


@asynccontextmanager
async def writing(databases: RegionDatabases, players: int) -> AsyncIterator[None]:
    """Commit changed scores meanwhile, from a pool of its own."""

    async def write() -> None:
        chance = random.Random(1)
        while True:
            user_id = f"eu-{chance.randrange(players):08d}"
            await databases[REGION].execute("UPDATE leaderboard SET score = score + 1 WHERE user_id = $1", user_id)
            await asyncio.sleep(1 / WRITES_PER_SECOND)

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure(environ: dict[str, str], players: int, seconds: float) -> dict[str, Any]:
    """Measure a board of so many players, quiet and written to."""
    async with loaded(environ, players) as databases, loaded(environ, players) as writers:
        rows = await databases[REGION].fetch(
            "(SELECT score, user_id FROM leaderboard ORDER BY score DESC, user_id DESC LIMIT 1) UNION ALL "
            "(SELECT score, user_id FROM leaderboard WHERE score < 500000 ORDER BY score DESC, user_id DESC LIMIT 1) "
            "UNION ALL (SELECT score, user_id FROM leaderboard ORDER BY score, user_id LIMIT 1)",
            timeout=600,
        )
        at = {name: Point(*row) for name, row in zip(("top", "middle", "bottom"), rows, strict=True)}
        found: dict[str, Any] = {"players": players}
        console.print(f"{players:,} players, one reader …")
        found["first_read_ms"] = await first_read(databases)
        boards = PostgresBoards(databases)
        reads = single_reads(boards, players, at)
        await time_read(reads["top 100"], 1)
        found["quiet"] = {name: await time_read(read) for name, read in reads.items()}
        found["quiet_load"] = (await many_readers(boards, players, seconds)).as_dict()
        async with writing(writers, players):
            console.print(f"{players:,} players, written to …")
            found["written"] = {name: await time_read(read) for name, read in reads.items()}
            found["written_load"] = (await many_readers(boards, players, seconds)).as_dict()
        await boards.close()
        settings = ("server_version", "shared_buffers", "max_parallel_workers_per_gather", "jit")
        found["postgres"] = {name: await databases[REGION].fetchval(f"SHOW {name}") for name in settings}
    return found


async def first_read(databases: RegionDatabases) -> float:
    """Time what a reader waits until the first read of a replica is answered, refusals included."""
    boards = PostgresBoards(databases)
    started = time.perf_counter()
    while await time_read(partial(boards.top, HERE, 100, 0), 1) is None:
        await asyncio.sleep(0.1)
    seconds = time.perf_counter() - started
    await boards.close()
    return 1000 * seconds


def main() -> None:
    """Run everything, print tables and write the numbers to benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--seconds", type=float, default=10, help="of many readers")
    parser.add_argument("--data", type=Path, help="a folder for Postgres' data, kept for the next run")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for fallback.json")
    options = parser.parse_args()
    with postgres(options.data) as environ:
        sizes = [asyncio.run(measure(environ, players, options.seconds)) for players in options.players]
    found = {"machine": machine_facts(), "sizes": sizes}
    for head, lines in fallback_tables(found):
        Console(highlight=False).print(rich_table(head, lines))
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "fallback.json").write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"written to {options.results}")


if __name__ == "__main__":
    main()
