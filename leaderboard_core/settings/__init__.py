"""Settings from the environment, in groups by concern, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping

from leaderboard_core.settings.auth import SECRET_COMMAND, AuthSettings
from leaderboard_core.settings.gateway import GatewaySettings
from leaderboard_core.settings.limits import MAX_EXACT_INTEGER, LimitSettings
from leaderboard_core.settings.loading import PER_REGION_PREFIXES, Group, SettingsError, load
from leaderboard_core.settings.process import ProcessSettings, TracingSettings
from leaderboard_core.settings.streams import StreamSettings
from leaderboard_core.settings.topology import TopologySettings
from leaderboard_core.settings.worker import WorkerSettings

__all__ = [
    "GROUPS",
    "MAX_EXACT_INTEGER",
    "PER_REGION_PREFIXES",
    "SECRET_COMMAND",
    "AuthSettings",
    "GatewaySettings",
    "Group",
    "LimitSettings",
    "ProcessSettings",
    "SettingsError",
    "StreamSettings",
    "TopologySettings",
    "TracingSettings",
    "WorkerSettings",
    "check_all",
    "load",
]

GROUPS: tuple[type[Group], ...] = (
    ProcessSettings,
    TracingSettings,
    TopologySettings,
    AuthSettings,
    LimitSettings,
    StreamSettings,
    WorkerSettings,
    GatewaySettings,
)


def check_all(environ: Mapping[str, str]) -> None:
    """Check the settings of all processes. Raises SettingsError, naming every variable that is wrong."""
    complaints = []
    for group in GROUPS:
        try:
            load(group, environ)
        except SettingsError as error:
            complaints.append(str(error))
    if complaints:
        raise SettingsError("\n".join(complaints))
