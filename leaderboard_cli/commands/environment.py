"""Read the settings of a command: the environment, then `.env`, then the local cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from leaderboard_cli.cluster.environment import user_environment
from leaderboard_cli.cluster.secret_files import JWT_SECRET
from leaderboard_cli.cluster.state import STATE_NAME
from leaderboard_cli.console import called_as
from leaderboard_cli.data_folder import data_folder
from leaderboard_core.settings import AuthSettings, SettingsError, load
from leaderboard_core.tokens import Tokens

_REDIS = "REDIS_URL"
_POSTGRES = ("POSTGRES_", "PG_DATABASE_", "DATABASE_URL_")
_POSTGRES_SERVER = ("POSTGRES_HOST", "POSTGRES_PORT")


def command_environment() -> dict[str, str]:
    """Return the variables for one command, so that it finds the cluster of `leaderboard up` by itself.

    What names one region's store leaves those of the others to the cluster, as `leaderboard up` does. Of a cluster that
    is stopped it is the secret: tokens are good again when the cluster is.
    """
    found = user_environment()
    folder = data_folder(found)
    state_file = folder / STATE_NAME
    if not state_file.exists():
        kept = folder.absolute() / JWT_SECRET
        return {"JWT_SECRET_FILE": str(kept), **found} if kept.exists() and not found.get("JWT_SECRET") else found
    state = json.loads(state_file.read_text("utf-8"))
    local = {"LEADERBOARD_URL": state["url"], "REGIONS": ",".join(state["databases"])}
    shared = state["redis_url"]
    if "REDIS_URL" not in found:
        local |= {f"REDIS_URL_{region}": url for region, url in state["redis_urls"].items() if url != shared}
        local["REDIS_URL"] = shared
    if state["jwt_secret_file"] and not found.get("JWT_SECRET"):
        local["JWT_SECRET_FILE"] = state["jwt_secret_file"]
    if state["postgres_dsn"]:
        if not any(name in found for name in _POSTGRES_SERVER):
            local |= _server_of(state["postgres_dsn"])
    elif not any(name.startswith(_POSTGRES) for name in found):
        local |= {f"DATABASE_URL_{region}": url for region, url in state["databases"].items()}
    return {**local, **found}


def names_stores(environ: Mapping[str, str]) -> bool:
    """Whether a cluster runs, or a variable names a store: else it is for `leaderboard up` to start them."""
    return any(name.startswith((_REDIS, *_POSTGRES)) for name in environ)


def stores_environment() -> dict[str, str]:
    """Return the variables of a command that opens the stores itself.

    Raises SettingsError where no cluster runs and no variable names a store: those on the usual ports are somebody's.
    """
    found = command_environment()
    if not names_stores(found):
        raise SettingsError(
            f"Nothing runs in {data_folder(found).absolute()}. Start the system with '{called_as()} up', or its stores "
            f"alone with '{called_as()} up --stores'; for servers of your own set REDIS_URL and POSTGRES_HOST."
        )
    return found


def signer(environ: Mapping[str, str]) -> Tokens:
    """Make what issues the system's tokens. Raises SettingsError, before there is a secret with the way to one."""
    if not environ.get("JWT_SECRET") and not environ.get("JWT_SECRET_FILE"):
        raise SettingsError(
            f"There is no secret in {data_folder(environ).absolute()}: '{called_as()} up' makes one when it starts. "
            "For a system that runs elsewhere set JWT_SECRET (or JWT_SECRET_FILE) to its secret."
        )
    return Tokens(load(AuthSettings, environ))


def _server_of(dsn: str) -> dict[str, str]:
    parts = urlsplit(dsn)
    return {
        "POSTGRES_HOST": parts.hostname or "",
        "POSTGRES_PORT": str(parts.port),
        "POSTGRES_USER": unquote(parts.username or ""),
        "POSTGRES_PASSWORD": unquote(parts.password or ""),
    }
