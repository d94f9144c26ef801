"""Provides the live streams of the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

from leaderboard_core.http.dependencies import FromState
from leaderboard_service.live.service import Hub

live_hub = FromState("live_hub")
LiveHub = Annotated[Hub, Depends(live_hub)]

# Not in the document: for generators it has the name of the parameter that means the same.
LastEventId = Annotated[str, Header(alias="Last-Event-ID", include_in_schema=False)]
