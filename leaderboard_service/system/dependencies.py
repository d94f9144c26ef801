"""Provides the status of the running service and of the whole system."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from leaderboard_core.http.dependencies import FromState
from leaderboard_service.system.service import SystemStatus

system_status = FromState("system_status")
System = Annotated[SystemStatus, Depends(system_status)]
