"""Provides the score writers of the running service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from leaderboard_core.http.dependencies import FromState
from leaderboard_service.scores.batches import BatchWriter
from leaderboard_service.scores.removal import EntryRemover
from leaderboard_service.scores.service import ScoreWriter

score_writer = FromState("score_writer")
Writer = Annotated[ScoreWriter, Depends(score_writer)]

batch_writer = FromState("batch_writer")
Batches = Annotated[BatchWriter, Depends(batch_writer)]

entry_remover = FromState("entry_remover")
Remover = Annotated[EntryRemover, Depends(entry_remover)]
