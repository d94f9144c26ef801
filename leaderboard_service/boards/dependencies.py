"""Provides the board reads of the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from leaderboard_core.http.dependencies import FromState
from leaderboard_core.http.responses import JSONReply
from leaderboard_service.boards.coalescing import RequestCoalescer
from leaderboard_service.boards.places import Places
from leaderboard_service.boards.service import BoardReads

places = FromState("places")
KnownPlaces = Annotated[Places, Depends(places)]

board_reads = FromState("board_reads")
Boards = Annotated[BoardReads, Depends(board_reads)]

page_coalescer = FromState("page_coalescer")
PageCoalescer = Annotated[RequestCoalescer[JSONReply], Depends(page_coalescer)]
