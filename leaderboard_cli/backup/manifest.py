"""Say what is in a backup, and whether all of it is there as it was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leaderboard_core.postgres import sql

NAME = "manifest.json"
"""Written last: a folder without it is no backup, or one that was never finished."""
FORMAT = 1
OLDEST_SCHEMA = 7
"""Rows of older schemas would need more than the defaults of the columns that they lack."""
TABLES = ("leaderboard", "accounts", "deleted_players", "entries", "boards", "dead_boards")
"""What is kept of each database. The rest says who runs it at the moment, and is made anew."""
_MADE_BY = {"entries": "entries", "boards": "boards", "dead_boards": "dead_boards"}
"""The migration of a table that the oldest schema does not have: a backup from before it lacks its file."""
CHUNK = 1 << 20

OnRows = Callable[[str, int], None]
"""Told the regions of a database and how many of its rows were dealt with."""


class BackupProblem(Exception):
    """The backup cannot be made or used; the text says why, and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TableFile(_Part):
    """The rows of one table as CSV, compressed; `sha256` is that of the file."""

    table: str
    file: str = Field(pattern=r"^[\w+-]+(\.[\w-]+)+$")
    columns: tuple[str, ...]
    rows: int = Field(ge=0)
    sha256: str


class DatabaseBackup(_Part):
    """One database: that of one region, or of several that share it."""

    regions: tuple[str, ...]
    tables: tuple[TableFile, ...]

    @property
    def name(self) -> str:
        return name_of(self.regions)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def players(self) -> int:
        return sum(table.rows for table in self.tables if table.table == "leaderboard")


class Manifest(_Part):
    """A whole backup; `schema_version` is the number of the newest migration that its databases had.

    `began_at` is when it began (UTC): what was answered before is in it, but for `lacking` events; None when
    Redis did not say how many.
    """

    format: int
    schema_version: int
    began_at: datetime
    lacking: int | None = 0
    databases: tuple[DatabaseBackup, ...]

    @property
    def players(self) -> int:
        return sum(database.players for database in self.databases)

    def only(self, region: str) -> Manifest:
        """Return what it says of one region's database. Raises BackupProblem when there is none."""
        found = tuple(database for database in self.databases if region in database.regions)
        if not found:
            raise BackupProblem(f"The backup has no region {region}: it has {', '.join(self.regions)}.")
        return self.model_copy(update={"databases": found})

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(region for database in self.databases for region in database.regions)


def name_of(regions: Sequence[str]) -> str:
    """Name a database by its regions, in files and messages."""
    return "+".join(regions)


def tables_of(schema_version: int) -> tuple[str, ...]:
    """Name the tables that a backup of that schema has."""
    made_in = {migration.name: migration.version for migration in sql.migrations()}
    return tuple(table for table in TABLES if made_in.get(_MADE_BY.get(table, ""), 0) <= schema_version)


def newest_schema() -> int:
    """Return the number of the newest migration that this version knows."""
    return sql.migrations()[-1].version


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup says of itself. Raises BackupProblem for what is none, or of another version."""
    path = folder / NAME
    if not path.is_file():
        raise BackupProblem(
            f"{folder} has no {NAME}: it is no backup, or one that was interrupted. It cannot be restored."
        )
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise BackupProblem(f"{path} is damaged: {error}") from error
    if manifest.format != FORMAT or manifest.schema_version > newest_schema():
        raise BackupProblem(
            f"{folder} was made by a newer version (schema {manifest.schema_version}, this one has {newest_schema()}): "
            "restore it with that version."
        )
    if manifest.schema_version < OLDEST_SCHEMA:
        raise BackupProblem(
            f"{folder} has schema {manifest.schema_version}, which is too old: restore it with its own version, then "
            "upgrade."
        )
    for database in manifest.databases:
        tables = tables_of(manifest.schema_version)
        if {table.table for table in database.tables} != set(tables) or len(database.tables) != len(tables):
            raise BackupProblem(f"{path} is damaged: {database.name} does not have the tables {', '.join(tables)}.")
    return manifest


def check_files(folder: Path, manifest: Manifest, on_rows: OnRows) -> None:
    """Compare every file with its checksum. Raises BackupProblem, which names all that are damaged or missing."""
    problems = []
    for database in manifest.databases:
        for table in database.tables:
            try:
                found = checksum(folder / table.file)
            except OSError as error:
                problems.append(f"{table.file}: {error.strerror}")
            else:
                if found != table.sha256:
                    problems.append(f"{table.file}: the checksum is not that of the manifest")
            on_rows(database.name, table.rows)
    if problems:
        raise BackupProblem("\n".join((f"The backup {folder} is damaged. Nothing was changed.", *problems)))


def checksum(path: Path) -> str:
    """Compute the SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
