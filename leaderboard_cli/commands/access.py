"""Finds the running system for a command that calls its API, as a game server would."""

from __future__ import annotations

from collections.abc import Mapping

from leaderboard_cli.commands.environment import signer
from leaderboard_cli.console import called_as
from leaderboard_cli.status.sources import address_of


def server_access(name: str, url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the system's URL (`url`, if it is given) and a server's token for `name`. Raises SettingsError."""
    return address_of(url, environ), signer(environ).issue(name, name, "GLOBAL", role="server")


def admin_access(name: str, url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the system's URL, as `server_access` does, and an administrator's token for `name`."""
    return address_of(url, environ), signer(environ).issue(name, name, "GLOBAL", role="admin")


def how_to_start() -> str:
    """Say what to do when nothing answers."""
    return f"Start the system with '{called_as()} up', or give --url."
