"""Provides the definitions of boards of the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from leaderboard_core.http.dependencies import FromState
from leaderboard_service.definitions.known import KnownBoards
from leaderboard_service.definitions.service import Definitions

definitions = FromState("definitions")
BoardDefinitions = Annotated[Definitions, Depends(definitions)]

known_boards = FromState("known_boards")
BoardsKnown = Annotated[KnownBoards, Depends(known_boards)]
