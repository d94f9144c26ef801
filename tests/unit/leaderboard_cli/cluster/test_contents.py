"""Test what `leaderboard reset` takes for a cluster's: what has its names, and nothing that only begins like them."""

from __future__ import annotations

from pathlib import Path

from leaderboard_cli.cluster.contents import contents
from leaderboard_cli.cluster.nginx_server import CONFIG_HEADER

OURS = (
    *("pg-15/", "pg-15.new/", "pg-15.password", "redis-8/", "valkey-9/", "valkey-9.damaged-20260102T030405Z/"),
    *("redis.conf", "sockets/", "cluster.json", "pids.json", "jwt_secret", "postgres_password", "redis_password"),
)
OTHERS = (
    "cluster.lock",
    "pg-dump-2026.sql",
    "pg-backup/",
    "pg-15-copy/",
    "redis-notes",
    "valkey-9.tar",
    "notes",
    "x.log",
)


def fill(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in contents(folder)}


def test_only_what_has_a_name_of_ours_is_ours(tmp_path: Path) -> None:
    fill(tmp_path, (*OURS, *OTHERS))
    assert names(tmp_path) == {name.rstrip("/") for name in OURS}


def test_folders_with_usual_names_are_ours_by_what_is_in_them(tmp_path: Path) -> None:
    fill(tmp_path, ("logs/service-1.log", "logs/redis.log.1", "nginx/nginx.conf"))
    assert names(tmp_path) == {"logs"}
    fill(tmp_path, ("logs/mine.log",))
    (tmp_path / "nginx" / "nginx.conf").write_text(f"{CONFIG_HEADER}\nevents {{}}\n")
    assert names(tmp_path) == {"logs/service-1.log", "logs/redis.log.1", "nginx"}
