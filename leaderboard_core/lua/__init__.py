"""The Redis scripts, one file each, loaded by name.

A file is called `<name>-<number of KEYS>.lua`; its header says KEYS, ARGV and result.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """A script's source, its SHA-1 for EVALSHA and how many KEYS it takes."""

    name: str
    source: str
    number_of_keys: int
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())


@cache
def all_scripts() -> dict[str, Script]:
    """Every script by its name."""
    scripts = {}
    for entry in resources.files(__name__).iterdir():
        if entry.name.endswith(".lua"):
            name, _, keys = entry.name.removesuffix(".lua").rpartition("-")
            scripts[name] = Script(name, entry.read_text("utf-8"), int(keys))
    return scripts


def load(name: str) -> Script:
    """The script called `name`. Raises KeyError when there is none."""
    return all_scripts()[name]
