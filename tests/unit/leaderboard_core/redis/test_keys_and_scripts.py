"""Test that key names are stable, that file names of scripts count their KEYS, that statements are found by name."""

from __future__ import annotations

import inspect
import itertools
import re
from pathlib import Path

import pytest

from leaderboard_core.boards import ALL, Board, Place, Rules
from leaderboard_core.postgres import sql
from leaderboard_core.redis import lua
from leaderboard_core.redis.keys import Keys

SCRIPTS = sorted(lua.all_scripts())


def test_the_names_of_the_keys() -> None:
    keys = Keys()
    assert keys.board("EU") == "leaderboard:EU"
    assert keys.board("GLOBAL") == "leaderboard:GLOBAL"
    assert keys.user("alice") == "user:alice"
    assert keys.queue("EU") == "queue:scores:EU"
    assert keys.processing("EU", "host-1") == "queue:scores:EU:processing:host-1"
    assert keys.dead("EU") == "queue:scores:EU:dead"
    assert keys.user_bucket("alice") == "bucket:user:alice"
    assert keys.region_bucket("EU") == "bucket:region:EU"
    assert keys.tombstone("alice") == "deleted:alice"
    assert keys.returned_deletion("alice") == "deleted:alice/returned"
    assert keys.definition("main") == "board:main"
    assert keys.rules("main") == "board:main:rules"
    assert keys.board_names == "boards"
    assert keys.living_boards == "shard:boards"
    assert keys.last_board_id == "shard:last_board_id"
    assert keys.trial == "shard:trial"
    assert keys.entries("alice") == "entries:alice"


def test_the_set_of_a_ranking_is_named_after_its_board_creation_and_window() -> None:
    laps, flat = Board("laps", 7, 1, Rules()), Board("flat", 8, 1, Rules(regions=False))
    assert Keys().place(Place.on_main("EU")) == "leaderboard:EU"
    assert Keys().place(Place(laps, ALL, "EU")) == "leaderboard:laps.7:all:EU"
    assert Keys().place(Place(laps, "week.2026-W48", "GLOBAL")) == "leaderboard:laps.7:week.2026-W48:GLOBAL"
    only_eu = Keys("{s1}:", "EU")
    assert only_eu.board("GLOBAL") == "{s1}:leaderboard:EU"
    assert only_eu.place(Place(laps, ALL, "GLOBAL")) == "{s1}:leaderboard:laps.7:all:EU"
    assert only_eu.place(Place(flat, ALL, "GLOBAL")) == "{s1}:leaderboard:flat.8:all:GLOBAL", "it has no other set"
    for keys, place in itertools.product((Keys(), only_eu), (Place(laps, ALL, "EU"), Place.on_main("EU"))):
        assert keys.sets(place) == (keys.place(place), keys.place(place.in_region("GLOBAL")))
    for keys in (Keys(), only_eu):
        assert keys.sets(Place(flat, ALL, "EU")) == (keys.place(Place(flat, ALL, "GLOBAL")),) * 2


def test_a_prefix_stands_before_every_name() -> None:
    plain, prefixed = Keys(), Keys("{s1}:")
    for name, member in inspect.getmembers(Keys):
        if name.startswith("_") or name in ("prefix", "only_region"):
            continue
        if isinstance(member, property):
            assert getattr(prefixed, name) == "{s1}:" + getattr(plain, name)
        else:
            named = [one for one in inspect.signature(member).parameters if one not in ("self", "regions")]
            arguments = [Place.on_main("x") if named == ["place"] else "x" for name in named]
            more = {"regions": True} if name == "sets_of_entry" else {}
            built, expected = (getattr(keys, name)(*arguments, **more) for keys in (prefixed, plain))
            if isinstance(built, tuple):
                assert built == tuple("{s1}:" + one for one in expected)
            else:
                assert built == "{s1}:" + expected


def test_idempotency_keys_of_two_players_never_meet() -> None:
    parts = ["a", "b", ":", "a:b", ":a", "b:"]
    pairs = list(itertools.product(parts, ["x", "x/y", "/", ":", "b:x", ":x", "a/x"]))
    assert len({Keys().idempotency(subject, key) for subject, key in pairs}) == len(pairs)


def header_and_body(source: str) -> tuple[str, str]:
    """A script's header, and its code; a function that is included and not called with KEYS has its own."""
    header, _, body = source.partition("]]")
    function = re.search(r"^local function (\w+)\(KEYS, ARGV[^)]*\)\n.*?^end\n", body, flags=re.MULTILINE | re.DOTALL)
    if function and f"return {function[1]}(KEYS, ARGV" not in body:
        body = body.replace(function[0], "")
    return header, body


def numbered(header: str, section: str) -> set[int]:
    """The numbers that a section of a script's header describes, up to the next section."""
    text = re.split(rf"^{section}\b", header, flags=re.MULTILINE)[1]
    text = re.split(r"^(?:ARGV|Result)\b|^      then for each", text, flags=re.MULTILINE)[0]
    return {int(number) for number in re.findall(r"(?<=\s)(\d+) ['a-zA-Z]", text)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_uses_as_many_keys_as_its_file_name_says(name: str) -> None:
    script = lua.load(name)
    header, body = header_and_body(script.source)
    used = {int(number) for number in re.findall(r"\bKEYS\[(\d+)\]", body)}
    assert used <= set(range(1, script.number_of_keys + 1))
    if not re.search(r"\bKEYS\[[^\d]", body):
        assert used == set(range(1, script.number_of_keys + 1))
    assert ("\n      then for each" in header) == (script.keys_per_item > 0)
    assert numbered(header, "KEYS") == set(range(1, script.number_of_keys + 1)), "the header describes each key"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_uses_as_many_arguments_as_its_header_says(name: str) -> None:
    header, body = header_and_body(lua.load(name).source)
    assert header.removeprefix("#!lua flags=allow-oom\n").startswith("--[[\n")
    assert "Result" in header
    used = {int(number) for number in re.findall(r"\bARGV\[(\d+)\]", body)}
    assert ("ARGV" in body) == ("\nARGV" in header)
    if used:
        assert used <= numbered(header, "ARGV"), "the header describes each argument"


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_names_a_key_itself(name: str) -> None:
    """The key builders are the one place for names; a script gets keys, or a prefix, from its caller."""
    _, _, body = lua.load(name).source.partition("]]")
    assert not re.search(r"['\"](leaderboard|board|user|queue|bucket|claim|shard|idempotency|deleted):", body)


WRITES = "SET|SADD|DEL|HSET|HDEL|ZADD|ZREM|LPUSH|RPUSH|RPOP|LMOVE|LREM|EXPIRE|PEXPIRE|PEXPIREAT"


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_key_that_a_script_writes_is_one_of_its_keys(name: str) -> None:
    """While a slot is being moved, a cluster looks at KEYS alone when it decides whether a script may run on a node."""
    source = re.sub(r"--\[\[.*?\]\]|--[^\n]*", "", lua.load(name).source, flags=re.DOTALL)
    for written in re.findall(rf"\bp?call\('(?:{WRITES})', ([^,)]+)", source):
        if re.match(r"(KEYS|keys)\[", written):
            continue
        if written == "entry.hash":  # what the script gives entry_of
            given = re.findall(r"= (?:\w+ and )?entry_of\(([^,]*),", source)
            assert given, "nothing gives it"
            assert all(one.startswith("KEYS[") for one in given), given
            continue
        assert re.fullmatch(r"\w+", written), f"{name} builds the key {written}"
        if written in ("region_set", "global_set"):
            both = re.findall(r"= (?:[^\n]* and )?board_of\(([^,]+), ([^,]+),", source)
            assert both or "board_of(" not in source, "nothing gives it"
            assert all(one.startswith("KEYS[") for given in both for one in given), both
        names = re.findall(rf"local ([\w, ]*\b{written}\b[\w, ]*) = ([^\n]+)", source)
        parameters = re.findall(rf"function \w+\([^)]*\b{written}\b[^)]*\)", source)
        assert names or parameters, written
        for variables, values in names:
            value = values.split(", ")[variables.split(", ").index(written)]
            assert re.match(r"(KEYS|keys)\[", value), f"{name} takes {written} from {value}"


def test_a_missing_script_or_statement_is_an_error() -> None:
    with pytest.raises(KeyError):
        lua.load("nothing")
    with pytest.raises(KeyError):
        sql.load("nothing")


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.version for migration in sql.migrations()] == list(range(1, len(sql.migrations()) + 1))


def test_a_migration_that_builds_an_index_does_nothing_else() -> None:
    build = "-- Why.\nCREATE UNIQUE INDEX CONCURRENTLY one ON leaderboard (name);\n"
    assert sql.index_built_by(build) == "one"
    assert sql.index_built_by("-- not CONCURRENTLY\nCREATE INDEX one ON leaderboard (name);") is None
    for other in (build + build, "CREATE INDEX CONCURRENTLY IF NOT EXISTS one ON t (x)", "DROP INDEX CONCURRENTLY one"):
        with pytest.raises(ValueError, match="one CREATE INDEX CONCURRENTLY <name>"):
            sql.index_built_by(other)


def test_there_is_no_sql_or_lua_in_python() -> None:
    root = Path(lua.__file__).parents[3]
    packages = ("api_gateway", "leaderboard_core", "leaderboard_service", "worker_service")
    pattern = re.compile(r"redis\.call|\b(SELECT .+ FROM|INSERT INTO|DELETE FROM|UPDATE \w+ SET)\b")
    for package in packages:
        for path in (root / package).rglob("*.py"):
            assert not pattern.search(path.read_text("utf-8")), path
