"""Settings from the environment, in groups by concern, checked before anything starts."""

from leaderboard_core.settings.groups import (
    GROUPS,
    MAX_EXACT_INTEGER,
    PER_REGION_PREFIXES,
    SECRET_COMMAND,
    AuthSettings,
    GatewaySettings,
    Group,
    LimitSettings,
    ProcessSettings,
    SettingsError,
    StreamSettings,
    TopologySettings,
    TracingSettings,
    WorkerSettings,
    load,
)

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
    "load",
]
