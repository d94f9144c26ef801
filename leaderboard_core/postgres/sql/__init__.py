"""Load the SQL statements and migrations by name from their files.

A statement starts with `-- name: <name>`; the comment lines after it say its parameters and result. Where one has
`@rows@`, it can be asked of several tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")
_INDEX = re.compile(r"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?!IF\b)(\w+)\s+ON\s[^;]+;?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema; a step that has been released never changes.

    `index` is the index that it builds, when that is all it does, and does CONCURRENTLY.
    """

    version: int
    name: str
    statements: str
    index: str | None = None

    def __str__(self) -> str:
        return f"{self.version:04d}_{self.name}"


@cache
def queries() -> dict[str, str]:
    """Load every statement of `queries.sql` by its name."""
    text = (resources.files(__name__) / "queries.sql").read_text("utf-8")
    _, *parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def load(name: str) -> str:
    """Load the statement called `name`. Raises KeyError when there is none."""
    return queries()[name]


@cache
def load_over(rows: str, name: str) -> str:
    """Load the statement `name` over the rows that the text `rows` names. Raises KeyError as `load` does."""
    return load(name).replace("@rows@", load(rows))


@cache
def migrations() -> tuple[Migration, ...]:
    """Load every migration, in the order of its number."""
    found = []
    for entry in (resources.files(__name__) / "migrations").iterdir():
        if entry.name.endswith(".sql"):
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            statements = entry.read_text("utf-8")
            found.append(Migration(int(number), name, statements, index_built_by(statements)))
    return tuple(sorted(found, key=lambda migration: migration.version))


def index_built_by(statements: str) -> str | None:
    """Name the index that a migration builds CONCURRENTLY; None when it is to run in a transaction.

    Raises ValueError when it does something else as well, or passes over an index that is there: that may be invalid.
    """
    code = _COMMENT.sub("", statements)
    if "CONCURRENTLY" not in code.upper():
        return None
    if (found := _INDEX.fullmatch(code)) is None:
        raise ValueError("a migration with CONCURRENTLY is one CREATE INDEX CONCURRENTLY <name> ON …, nothing else")
    return found[1]
