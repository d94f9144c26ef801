"""Provides the live streams of the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

from leaderboard_core.http.dependencies import FromState
from leaderboard_service.live.service import Hub

live_hub = FromState("live_hub")
LiveHub = Annotated[Hub, Depends(live_hub)]

LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        description="The id of the last event that was seen: what changed since is sent, not everything.",
    ),
]
