"""Settings of the live streams."""

from __future__ import annotations

from pydantic import Field

from leaderboard_core.settings.loading import Group


class StreamSettings(Group):
    """The live streams of a replica."""

    stream_interval_ms: int = Field(
        250, ge=10, le=60_000, description="Shortest time between two events of a live stream."
    )
    stream_heartbeat_seconds: float = Field(
        15,
        gt=0,
        le=60,
        description="Longest silence of a live stream, filled by a comment; the same in services and gateways.",
    )
    stream_slow_seconds: float = Field(
        10, gt=0, description="How long a listener may take nothing before it is cut off."
    )
    stream_boards: int = Field(
        200,
        ge=1,
        description="Rankings, of a region or GLOBAL, with live streams on one replica; more get 503.",
    )
    stream_max_listeners: int = Field(10_000, ge=0, description="Live streams of one replica; more get 503.")
