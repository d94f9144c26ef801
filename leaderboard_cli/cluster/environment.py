"""What the processes of the cluster are told: the environment, `.env`, the servers that were started, a secret."""

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
    """`environ` over the values of a `.env` file; the file may be missing, an empty value counts as unset."""
    values = {name: value for name, value in dotenv_values(dotenv).items() if value}
    return {**values, **{name: value for name, value in environ.items() if value}}


@dataclass(frozen=True)
class Wanted:
    """Which servers are to be started, as opposed to those that the environment names."""

    regions: tuple[str, ...]
    redis: bool
    postgres: bool


def wanted_servers(environ: Mapping[str, str]) -> Wanted:
    """An explicit REDIS_URL or POSTGRES_HOST, or one URL for each region, is used instead of a server of ours.

    SettingsError when the variables make no sense.
    """
    topology = load(TopologySettings, environ)
    regions = set(topology.regions)
    return Wanted(
        regions=topology.regions,
        redis=not environ.get("REDIS_URL") and not regions <= topology.region_redis_urls.keys(),
        postgres=not environ.get("POSTGRES_HOST") and not regions <= topology.region_database_urls.keys(),
    )


def with_jwt_secret(environ: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    """`environ` with JWT_SECRET_FILE set to a random secret, made once, when it names no secret itself."""
    if environ.get("JWT_SECRET") or environ.get("JWT_SECRET_FILE"):
        return dict(environ)
    path = data_dir.absolute() / JWT_SECRET_NAME
    if not path.exists():
        # Under another name first: a secret that is half written would be used for ever.
        draft = path.with_name(f"{path.name}.new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        draft.replace(path)
    return {**environ, "JWT_SECRET_FILE": str(path)}
