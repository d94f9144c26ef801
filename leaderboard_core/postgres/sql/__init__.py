"""Load the SQL statements and migrations by name from their files.

A statement starts with `-- name: <name>`; the comment lines after it say its parameters and result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema; a step that has been released never changes."""

    version: int
    name: str
    statements: str


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
def migrations() -> tuple[Migration, ...]:
    """Load every migration, in the order of its number."""
    found = []
    for entry in (resources.files(__name__) / "migrations").iterdir():
        if entry.name.endswith(".sql"):
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, entry.read_text("utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.version))
