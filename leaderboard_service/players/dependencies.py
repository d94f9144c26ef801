"""What exports and deletes players in the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from leaderboard_core.http.compiling import FromState
from leaderboard_service.players.deletion import Remover
from leaderboard_service.players.export import Profiles

player_export = FromState("player_export")
PlayerExport = Annotated[Profiles, Depends(player_export)]

player_deletion = FromState("player_deletion")
PlayerDeletion = Annotated[Remover, Depends(player_deletion)]
