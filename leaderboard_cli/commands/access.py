"""Calls the API of the running system for a command, as a game server or an administrator would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

from leaderboard_cli.commands.environment import signer
from leaderboard_cli.console import called_as, fail
from leaderboard_cli.status.sources import address_of
from leaderboard_client import Client, ConnectionFailed, LeaderboardError

T = TypeVar("T")


def server_access(
    name: str, url: str, environ: Mapping[str, str], role: Literal["server", "admin"] = "server"
) -> tuple[str, str]:
    """Return the system's URL (`url`, if it is given) and a token of that role for `name`. Raises SettingsError."""
    return address_of(url, environ), signer(environ).issue(name, name, "GLOBAL", role=role)


def call_system(access: tuple[str, str], call: Callable[[Client], T]) -> T:
    """Return what `call` does with a client of a system, for its URL and a token; end the command where it cannot."""
    base, token = access
    try:
        with Client(base, max_wait=0) as client:
            client.health()  # a system that does not answer is reported at once, not after retries
        with Client(base, token=token) as client:
            return call(client)
    except ConnectionFailed as error:
        fail(f"Cannot reach {base}: {error.__cause__}. {how_to_start()}")
    except LeaderboardError as error:
        fields = [f"{one['field']} {one['message']}." for one in error.details.get("fields", ())]
        said = str(error).replace("; see 'fields'", "") if fields else str(error)
        fail(" ".join([said, *fields, *getattr(error, "__notes__", ())]))


def how_to_start() -> str:
    """Say what to do when nothing answers."""
    return f"Start the system with '{called_as()} up', or give --url."
