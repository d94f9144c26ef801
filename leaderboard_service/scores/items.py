"""Builds the writes of a batch from its items, each of which is checked on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from leaderboard_core.boards import Board
from leaderboard_core.errors import Forbidden, InvalidPayload, LeaderboardError, RegionMismatch
from leaderboard_core.http.exception_handlers import fields_of
from leaderboard_core.tokens import Identity
from leaderboard_service.definitions.known import KnownBoards
from leaderboard_service.idempotency import Idempotency
from leaderboard_service.regions import Regions
from leaderboard_service.scores.schemas import BatchItem
from leaderboard_service.scores.writes import Operation, Write, submitted_write

MOST_OF_A_PLAYER: Final = 8
"""Scores that a player's own token sends in one call: one game's end on several boards."""


def check_submits(caller: Identity) -> None:
    """Raise Forbidden where a token submits no scores at all."""
    if not (caller.is_server or caller.is_player):
        raise Forbidden("Only a token with role 'server', or a player's own, submits scores.")


def check_may_submit(caller: Identity, user_id: str, region: str, *, force: bool) -> None:
    """Raise Forbidden or RegionMismatch where a token may not submit such a score: a server's may submit any."""
    if caller.is_server:
        return
    check_submits(caller)
    if user_id != caller.user_id:
        raise Forbidden("A player's token submits for that player only; use a token with role 'server'.")
    if region != caller.region:
        raise RegionMismatch(region=caller.region)
    if force:
        raise Forbidden("A player's token corrects nothing; use a token with role 'server'.")


async def writes_of(
    items: Sequence[dict[str, Any]],
    caller: Identity,
    regions: Regions,
    boards: KnownBoards,
    request_id: str,
    idempotency: Idempotency | None,
) -> list[Write | LeaderboardError]:
    """Build the write of each item, or say what is wrong with it. Raises InvalidPayload for too many of a player."""
    if not caller.is_server and len(items) > MOST_OF_A_PLAYER:
        most = f"has at most {MOST_OF_A_PLAYER} items with a player's token"
        raise InvalidPayload(fields=[{"field": "scores", "message": most}])

    def write_of(index: int, checked: _Checked, board: Board) -> Write:
        item, region, metadata = checked
        operation: Operation = "add" if item.score is None else "force" if item.force else "set"
        return submitted_write(
            operation,
            item.user_id,
            region,
            item.amount,
            caller,
            request_id,
            idempotency.of_item(index) if idempotency else None,
            name=item.name or "",
            board=board,
            metadata=metadata,
        )

    writes: dict[int, Write | LeaderboardError] = {}
    unheard: dict[int, _Checked] = {}
    for index, fields in enumerate(items):
        try:
            checked = _checked(fields, caller, regions)
            board = boards.heard_of(checked.item.board)
            if board is None:
                unheard[index] = checked
            else:
                writes[index] = write_of(index, checked, board)
        except LeaderboardError as error:
            writes[index] = error
    if unheard:
        found = await _boards_of({checked.item.board for checked in unheard.values()}, boards)
        for index, checked in unheard.items():
            answer = found[checked.item.board]
            writes[index] = answer if isinstance(answer, LeaderboardError) else write_of(index, checked, answer)
    return [writes[index] for index in range(len(items))]


class _Checked(NamedTuple):
    """An item that may be written; `metadata` is JSON, "" for none."""

    item: BatchItem
    region: str
    metadata: str


def _checked(fields: dict[str, Any], caller: Identity, regions: Regions) -> _Checked:
    """Check an item. Raises the error of one that may not be written."""
    try:
        item = BatchItem.model_validate(fields)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        at = [{**problem, "loc": ("body", *problem["loc"])} for problem in problems]
        raise InvalidPayload(fields=fields_of(at)) from None
    region = regions.resolve(item.region)
    metadata = item.metadata_json
    check_may_submit(caller, item.user_id, region, force=item.force)
    return _Checked(item, region, metadata)


async def _boards_of(names: Collection[str], boards: KnownBoards) -> dict[str, Board | LeaderboardError]:
    asked = await asyncio.gather(*(_found(boards, name) for name in names))
    return dict(zip(names, asked, strict=True))


async def _found(boards: KnownBoards, name: str) -> Board | LeaderboardError:
    try:
        return await boards.board(name)
    except LeaderboardError as error:
        return error
