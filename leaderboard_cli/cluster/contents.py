"""Names what a local cluster keeps in its data folder, which may hold other things too."""

from __future__ import annotations

import shutil
from pathlib import Path

from leaderboard_cli.cluster.pidfile import LOCK_NAME

_PATTERNS = (
    *("pg-*", "redis-*", "valkey-*", "redis.conf", "nginx", "sockets", "logs", "cluster.json", "pids.json"),
    *("jwt_secret", "postgres_password", "redis_password", "pgpass"),
)


def was_used(data_dir: Path) -> bool:
    """Whether a cluster has ever run on this folder."""
    return (data_dir / LOCK_NAME).is_file()


def contents(data_dir: Path) -> list[Path]:
    """List what a cluster has put into the folder, but for the lock file, which its holder must not remove."""
    return sorted(path for pattern in _PATTERNS for path in data_dir.glob(pattern))


def remove(paths: list[Path]) -> None:
    """Delete files and folders. Raises OSError."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
