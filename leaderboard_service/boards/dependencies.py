"""The boards of the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from leaderboard_core.http.compiling import FromState
from leaderboard_core.http.responses import JSONReply
from leaderboard_service.boards.coalescing import SharedReads
from leaderboard_service.boards.service import Reads

board_reads = FromState("board_reads")
BoardReads = Annotated[Reads, Depends(board_reads)]

shared_pages = FromState("shared_pages")
SharedPages = Annotated[SharedReads[JSONReply], Depends(shared_pages)]
