"""Provides the export and deletion of players of the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from leaderboard_core.http.dependencies import FromState
from leaderboard_service.players.deletion import PlayerDeleter
from leaderboard_service.players.entries import PlayerEntries
from leaderboard_service.players.export import PlayerExporter

player_export = FromState("player_export")
PlayerExport = Annotated[PlayerExporter, Depends(player_export)]

player_entries = FromState("player_entries")
EntriesOfPlayer = Annotated[PlayerEntries, Depends(player_entries)]

player_deletion = FromState("player_deletion")
PlayerDeletion = Annotated[PlayerDeleter, Depends(player_deletion)]
