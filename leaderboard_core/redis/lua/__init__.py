"""Load the Redis scripts by name, one file each.

A file is called `<name>-<number of KEYS>.lua`, or `<name>-<KEYS>+<KEYS of each item>.lua` where it takes a list; its
header says KEYS, ARGV and result. A line `--@include <name>` stands for the text of `includes/<name>.lua`. A script
that includes `admitted` is gated: it holds the admission of the shard in its text, and so has another SHA under each.
One with a line `--@acknowledged` does what an answer promises, or reads it and writes it again, or gives out what is
saved in Postgres next: its answer waits for replicas where REDIS_WAIT_REPLICAS says so.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

_ADMISSION = "@admission@"
_ACKNOWLEDGED = "\n--@acknowledged\n"
_INCLUDE = re.compile(r"^--@include (\w+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script's source, its SHA-1 for EVALSHA, and how many KEYS it takes: in all, and more for each item.

    `gated_under` is the admission in its text; `acknowledged`, whether an answer rests on what it does.
    """

    name: str
    source: str
    number_of_keys: int
    keys_per_item: int = 0
    gated_under: str = ""
    sha: str = field(init=False)
    acknowledged: bool = field(init=False)

    @property
    def gated(self) -> bool:
        """Whether it trusts the boards, and so runs only under the admission that it was loaded for."""
        return _ADMISSION in self.source

    def under(self, admission: str) -> Script:
        """Build the script that runs under one admission only."""
        return replace(self, source=self.source.replace(_ADMISSION, admission), gated_under=admission)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())
        object.__setattr__(self, "acknowledged", _ACKNOWLEDGED in self.source)


@cache
def all_scripts() -> dict[str, Script]:
    """Load every script by its name, what it includes filled in."""
    folder = resources.files(__name__)

    def included(found: re.Match[str]) -> str:
        return folder.joinpath("includes", f"{found[1]}.lua").read_text("utf-8")

    scripts = {}
    for entry in folder.iterdir():
        if entry.name.endswith(".lua"):
            name, _, keys = entry.name.removesuffix(".lua").rpartition("-")
            fixed, _, each = keys.partition("+")
            source = _INCLUDE.sub(included, entry.read_text("utf-8"))
            scripts[name] = Script(name, source, int(fixed), int(each or 0))
    return scripts


def load(name: str) -> Script:
    """Load the script called `name`. Raises KeyError when there is none."""
    return all_scripts()[name]


def values_of(text: str, *, some: bool = False) -> list[str]:
    """Return the values of a list that a script returned as one text: of an empty text none, or with `some` one."""
    return text.split("\0") if text or some else []
