"""Write every region's database to a folder, as of one moment in each."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from leaderboard_cli.backup.manifest import (
    FORMAT,
    NAME,
    TABLES,
    BackupProblem,
    DatabaseBackup,
    Manifest,
    OnRows,
    TableFile,
    check_files,
    checksum,
    name_of,
    newest_schema,
)
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from leaderboard_core.redis.shard_map import GLOBAL

LONG_SECONDS = 12 * 3600.0
"""Limit of a statement that reads or writes a whole table."""
CSV = "csv"
_COMPRESSION = 3
"""As small as that of the default within a few percent, and several times as fast."""


def in_order(databases: RegionDatabases) -> list[Pool]:
    """Return each database's pool once, GLOBAL's last: what it says of the others is then never older than they are."""
    last = databases[GLOBAL]
    return [pool for pool in databases.distinct() if pool is not last] + [last]


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Have a folder for a new backup, which has password hashes in it. Raises BackupProblem when it has files.

    One that was made here goes again if what is done with it fails before there is a file: a script that restores the
    newest would find it before the last backup.
    """
    made = _make(folder)
    try:
        yield
    except BaseException:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise


def _make(folder: Path) -> bool:
    """Return whether it was not there before."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        made = False
    except OSError as error:
        raise BackupProblem(f"{folder} cannot be made: {error.strerror}") from error
    else:
        made = True
    try:
        if any(folder.iterdir()):
            raise BackupProblem(f"{folder} is not empty: a backup needs a folder of its own.")
    except OSError as error:
        raise BackupProblem(f"{folder} cannot be read: {error.strerror}") from error
    return made


async def dump(
    folder: Path, databases: RegionDatabases, began_at: datetime, lacking: int | None, on_rows: OnRows
) -> Manifest:
    """Write all databases to an empty folder, its manifest at the end; return that.

    The moments of the databases are as close to each other as statements follow each other, GLOBAL's last. Raises
    BackupProblem when the schema is not this version's or a file does not read back as it was written; OSError; and
    asyncpg's errors.
    """
    found = []
    async with AsyncExitStack() as stack:
        connections = [
            (databases.regions_of(pool), await stack.enter_async_context(pool.acquire()))
            for pool in in_order(databases)
        ]
        for _, connection in connections:
            await stack.enter_async_context(connection.transaction(isolation="repeatable_read", readonly=True))
            await connection.fetchrow(sql.load("work_at_length"))
        for regions, connection in connections:
            await check_schema(connection, regions)
            tables = [
                await _dump_table(folder, connection, regions, table, partial(on_rows, name_of(regions)))
                for table in TABLES
            ]
            found.append(DatabaseBackup(regions=regions, tables=tuple(tables)))
    manifest = Manifest(
        format=FORMAT, schema_version=newest_schema(), began_at=began_at, lacking=lacking, databases=tuple(found)
    )
    check_files(folder, manifest, lambda _name, _rows: None)
    draft = folder / f"{NAME}.new"
    with _create(draft) as file:
        file.write(f"{manifest.model_dump_json(indent=2)}\n".encode())
        _keep(file)
    draft.rename(folder / NAME)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return manifest


async def check_schema(connection: Any, regions: Sequence[str]) -> None:
    """Compare the database's schema with this version's. Raises BackupProblem, and asyncpg's errors."""
    applied = {row["version"] for row in await connection.fetch(sql.load("applied_migrations"))}
    # An index may be still to come: nothing but speed depends on it.
    if missing := [one for one in sql.migrations() if one.version not in applied and one.index is None]:
        raise BackupProblem(
            f"The database of {name_of(regions)} lacks {', '.join(map(str, missing))}: run `leaderboard migrate` first."
        )
    if applied and max(applied) > newest_schema():
        raise BackupProblem(f"The database of {name_of(regions)} is of a newer version: use that.")


async def _dump_table(
    folder: Path, connection: Any, regions: Sequence[str], table: str, on_rows: Callable[[int], None]
) -> TableFile:
    columns = [row["name"] for row in await connection.fetch(sql.load("columns_of"), table)]
    path = folder / f"{name_of(regions)}.{table}.{CSV}.gz"
    with _create(path) as file:
        output = _CountedOutput(file, on_rows)
        status = await connection.copy_from_table(
            table, output=output, columns=columns, format=CSV, timeout=LONG_SECONDS
        )
        output.close()
        _keep(file)
    rows = int(status.rpartition(" ")[2])
    return TableFile(table=table, file=path.name, columns=tuple(columns), rows=rows, sha256=checksum(path))


class _CountedOutput:
    """Compresses what is written, and counts its lines: a row has no line breaks, as names have none."""

    def __init__(self, file: BinaryIO, on_rows: Callable[[int], None]) -> None:
        self._packed = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_COMPRESSION)
        self._on_rows = on_rows

    def write(self, data: bytes) -> int:
        self._on_rows(data.count(b"\n"))
        return self._packed.write(data)

    def close(self) -> None:
        self._packed.close()


def _create(path: Path) -> BinaryIO:
    """Create a file that nobody else can read, whoever made the folder. Raises OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _keep(file: Any) -> None:
    """Have the disk keep a file. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())
