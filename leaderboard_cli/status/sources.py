"""Find the addresses of the system and of its processes, as far as this machine knows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from leaderboard_cli.cluster.state import STATE_NAME
from leaderboard_cli.data_folder import data_folder
from leaderboard_core.settings import SettingsError

DEFAULT_URL = "http://127.0.0.1:8080"
_GATEWAYS = ("gateway-", "front")
_SERVICES = "service-"
_OURS = (*_GATEWAYS, _SERVICES, "worker-")


@dataclass(frozen=True, slots=True)
class Sources:
    """`url` is the address for clients; `processes` are the base URLs of our own processes by name, if known."""

    url: str
    processes: Mapping[str, str]

    @property
    def gateways(self) -> dict[str, str]:
        """Return the gateways, each with its own view of the services; without any, the address for clients."""
        found = {name: url for name, url in self.processes.items() if name.startswith(_GATEWAYS)}
        return found or {"client address": self.url}

    @property
    def services(self) -> dict[str, str]:
        """Return the services, which know the servers that hold the shards."""
        return {name: url for name, url in self.processes.items() if name.startswith(_SERVICES)}


def address_of(url: str, environ: Mapping[str, str], default: str = DEFAULT_URL) -> str:
    """Return the address that `--url` gives, or the environment. Raises SettingsError for what is no URL."""
    found = url or environ.get("LEADERBOARD_URL", default)
    if not _is_address(found):
        raise SettingsError(f"{'--url' if url else 'LEADERBOARD_URL'}: {found!r} is no URL such as {DEFAULT_URL}")
    return found.rstrip("/")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is none
        return False


def find_sources(url: str, environ: Mapping[str, str]) -> Sources:
    """Find the local cluster of `leaderboard up`, or the system at `url` if that is another one.

    Raises SettingsError.
    """
    state_file = data_folder(environ) / STATE_NAME
    try:
        state = json.loads(state_file.read_text("utf-8"))
    except FileNotFoundError:
        return Sources(address_of(url, environ), {})
    local = state["url"]
    wanted = address_of(url, environ, local)
    if wanted != local:
        return Sources(wanted, {})
    ours = {name: address for name, address in sorted(state["urls"].items()) if name.startswith(_OURS)}
    return Sources(local, ours)
