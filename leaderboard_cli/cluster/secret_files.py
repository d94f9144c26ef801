"""Keep the cluster's secrets in files of the data folder that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

JWT_SECRET, POSTGRES_PASSWORD, REDIS_PASSWORD, PGPASS = "jwt_secret", "postgres_password", "redis_password", "pgpass"


def write_secret(path: Path, text: str) -> None:
    """Replace a file, readable by its owner only. Under another name first: half a secret would be used for ever."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def kept_secret(data_dir: Path, name: str) -> str:
    """Return the secret in `<data_dir>/<name>`; a random one of 32 bytes is made the first time."""
    path = data_dir.absolute() / name
    if not path.exists():
        write_secret(path, secrets.token_hex(32) + "\n")
    return path.read_text("utf-8").strip()
