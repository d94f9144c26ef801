"""Build the environment of the cluster's processes: variables, `.env`, started servers, a secret."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from leaderboard_core.settings import TopologySettings, load

JWT_SECRET_NAME = "jwt_secret"  # noqa: S105 - the name of a file


def read_environment(environ: Mapping[str, str], dotenv: Path) -> dict[str, str]:
    """Merge `environ` over the values of a `.env` file; the file may be missing, an empty value counts as unset."""
    values = {name: value for name, value in dotenv_values(dotenv).items() if value}
    return {**values, **{name: value for name, value in environ.items() if value}}


@dataclass(frozen=True)
class Wanted:
    """The servers to start; the environment names the others."""

    regions: tuple[str, ...]
    redis: bool
    postgres: bool


def wanted_servers(environ: Mapping[str, str]) -> Wanted:
    """Decide which servers to start: none for an explicit REDIS_URL or POSTGRES_HOST, or a URL for each region.

    Raises SettingsError when the variables contradict each other.
    """
    topology = load(TopologySettings, environ)
    regions = set(topology.regions)
    return Wanted(
        regions=topology.regions,
        redis=not environ.get("REDIS_URL") and not regions <= topology.region_redis_urls.keys(),
        postgres=not environ.get("POSTGRES_HOST") and not regions <= topology.region_database_urls.keys(),
    )


def with_jwt_secret(environ: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    """Add JWT_SECRET_FILE with a random secret, created once, when `environ` names no secret."""
    if environ.get("JWT_SECRET") or environ.get("JWT_SECRET_FILE"):
        return dict(environ)
    path = data_dir.absolute() / JWT_SECRET_NAME
    if not path.exists():
        # Under another name first: a half-written secret would be used for ever.
        draft = path.with_name(f"{path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        draft.replace(path)
    return {**environ, "JWT_SECRET_FILE": str(path)}
