"""The list of commands and keys is whole: what scripts and clients use stands in it, and nothing else."""

from __future__ import annotations

import fnmatch
import inspect
import re
from pathlib import Path

from leaderboard_core.boards import Place
from leaderboard_core.redis import lua
from leaderboard_core.redis.commands import COMMANDS, KEY_PATTERNS, OPTIONAL, TRANSACTION
from leaderboard_core.redis.keys import Keys

REPOSITORY = Path(__file__).resolve().parents[4]
PACKAGES = ("leaderboard_core", "leaderboard_service", "worker_service", "leaderboard_cli")
OF_CLIENT = {"PING", "EVAL", "EVALSHA", "SCRIPT LOAD", "CONFIG SET"}
"""What redis-py's methods and the pipeliner send."""

CALL = re.compile(r"(?:redis\.p?call|(?<![\w.])call)\((.)([A-Za-z_]*)")


def of_scripts() -> set[str]:
    found = set()
    for name, script in lua.all_scripts().items():
        source = re.sub(r"--\[\[.*?\]\]|--[^\n]*", "", script.source, flags=re.DOTALL)
        for quote, command in CALL.findall(source):
            assert quote == "'", f"{name}: a command that is computed cannot be listed"
            found.add(command.upper())
    return found


def of_clients() -> set[str]:
    found = set(OF_CLIENT)
    for package in PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            found |= set(re.findall(r'\b(?:shard|self)\.command\(\s*"([A-Z ]+)"', path.read_text("utf-8")))
    return found


def test_every_command_of_scripts_and_clients_is_listed() -> None:
    used = of_scripts() | of_clients()
    assert {"ZADD", "INFO", "SORT_RO", "PEXPIRETIME", "BLMOVE", "ZSCAN", "CONFIG GET"} <= used
    assert used - {*COMMANDS, *OPTIONAL, *TRANSACTION} == set()
    assert {*COMMANDS} - used == set(), "a right that nobody needs"


def test_every_key_is_in_a_pattern() -> None:
    keys = Keys()
    for name, member in inspect.getmembers(Keys):
        if name.startswith("_") or name in ("prefix", "only_region"):
            continue
        if isinstance(member, property):
            built = getattr(keys, name)
        else:
            named = [one for one in inspect.signature(member).parameters if one not in ("self", "regions")]
            more = {"regions": True} if name == "sets_of_entry" else {}
            built = getattr(keys, name)(*(Place.on_main("x") if one == "place" else "x" for one in named), **more)
        for key in built if isinstance(built, tuple) else (built,):
            assert any(fnmatch.fnmatchcase(key, pattern) for pattern in KEY_PATTERNS), key
