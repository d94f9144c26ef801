"""Build the environment of the cluster's processes: variables, `.env`, started servers, a secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values

from leaderboard_cli.cluster.secret_files import JWT_SECRET, kept_secret
from leaderboard_core.settings import GROUPS, PER_REGION_PREFIXES, SettingsError, TopologySettings, load

DOTENV = Path(".env")
"""In the folder where the command is called."""
_OF_OTHERS = (
    *("LEADERBOARD_", "NGINX_", "GRAFANA_"),
    *("POSTGRES_IMAGE", "POSTGRES_MAX_CONNECTIONS", "REDIS_IMAGE", "REDIS_MAXMEMORY"),
)
"""How the variables begin that compose, the local cluster or our command read, and no process."""
_LIKENESS = 0.8


def read_environment(environ: Mapping[str, str], dotenv: Path) -> dict[str, str]:
    """Merge `environ` over the values of a `.env` file; the file may be missing, an empty value counts as unset.

    Raises SettingsError for a file that is no UTF-8.
    """
    try:
        values = {name: value for name, value in dotenv_values(dotenv).items() if value}
    except UnicodeDecodeError as error:
        raise SettingsError(f"{dotenv} cannot be read as UTF-8; save it as such.") from error
    return {**values, **{name: value for name, value in environ.items() if value}}


def user_environment() -> dict[str, str]:
    """Return what the person has set: this process's variables over those of `.env` in the current folder."""
    return read_environment(os.environ, DOTENV)


def misspelt(dotenv: Path = DOTENV) -> list[str]:
    """Say of each name in a `.env` file that is no setting, and nearly one, which one may be meant."""
    settings = [name.upper() for group in GROUPS for name in group.model_fields]
    found = []
    for name in dotenv_values(dotenv):
        known = name in settings or name.startswith((*_OF_OTHERS, *PER_REGION_PREFIXES.values()))
        if not known and (nearest := get_close_matches(name, settings, n=1, cutoff=_LIKENESS)):
            found.append(f"{dotenv}: {name} is no setting; {nearest[0]} is.")
    return found


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
    kept_secret(data_dir, JWT_SECRET)
    return {**environ, "JWT_SECRET_FILE": str(data_dir.absolute() / JWT_SECRET)}
