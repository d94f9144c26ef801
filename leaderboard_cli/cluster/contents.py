"""Names what a local cluster keeps in its data folder, which may hold other things too."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from leaderboard_cli.cluster.nginx_server import CONFIG_HEADER
from leaderboard_cli.data_folder import LOCK_NAME

_DATA: Final = re.compile(r"(pg|redis|valkey)-\d+(\.new|\.password|\.damaged-\d{8}T\d{6}Z)?")
_NODE: Final = re.compile(r"redis-\d+\.conf")
_LOG: Final = re.compile(r"(redis(-\d+)?|postgres|nginx|front|(service|worker|gateway)-\d+)\.log(\.1)?")
_RECORDS: Final = ("redis.conf", "redis-cluster", "sockets", "cluster.json", "pids.json")
_SECRETS: Final = ("jwt_secret", "postgres_password", "redis_password", "pgpass")


def was_used(data_dir: Path) -> bool:
    """Whether a cluster has ever run on this folder."""
    return (data_dir / LOCK_NAME).is_file()


def contents(data_dir: Path) -> list[Path]:
    """List what a cluster has put into the folder, but for the lock file, which its holder must not remove.

    By the names that it gives, not by what they begin with: a copy that a person has put beside them stays.
    """
    found = [
        path
        for path in data_dir.iterdir()
        if path.name in (*_RECORDS, *_SECRETS) or _DATA.fullmatch(path.name) or _NODE.fullmatch(path.name)
    ]
    nginx, logs = data_dir / "nginx", data_dir / "logs"
    config = nginx / "nginx.conf"
    if config.is_file() and config.read_text("utf-8", errors="replace").startswith(CONFIG_HEADER):
        found.append(nginx)
    if logs.is_dir():
        of_processes = [path for path in logs.iterdir() if _LOG.fullmatch(path.name)]
        found += [logs] if len(of_processes) == len(list(logs.iterdir())) else of_processes
    return sorted(found)


def remove(paths: list[Path]) -> None:
    """Delete files and folders. Raises OSError."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
