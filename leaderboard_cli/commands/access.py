"""Finds the running system for a command that calls its API, as a game server would."""

from __future__ import annotations

from collections.abc import Mapping

from leaderboard_cli.console import called_as
from leaderboard_cli.status.sources import DEFAULT_URL
from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens


def server_access(name: str, url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the system's URL (`url`, if it is given) and a server's token for `name`. Raises SettingsError."""
    token = Tokens(load(AuthSettings, environ)).issue(name, name, "GLOBAL", role="server")
    return url or environ.get("LEADERBOARD_URL", DEFAULT_URL), token


def how_to_start() -> str:
    """Say what to do when nothing answers."""
    return f"Start the system with '{called_as()} up', or give --url."
