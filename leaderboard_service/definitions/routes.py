"""Serves the definitions of boards: read by everybody, stated by administrators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from leaderboard_core import calls
from leaderboard_core.boards import Definition
from leaderboard_core.errors import (
    BoardNotFound,
    FixedField,
    Forbidden,
    ForbiddenOrigin,
    InvalidPayload,
    MainBoard,
    NotEverywhere,
    TooManyBoards,
    Unavailable,
)
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_core.postgres.definitions import SavedDefinition
from leaderboard_service.definitions.dependencies import BoardDefinitions
from leaderboard_service.definitions.schemas import (
    BoardDefined,
    BoardInFull,
    BoardName,
    BoardPage,
    BoardRemoved,
    BoardsQuery,
    DefinitionBody,
)
from leaderboard_service.dependencies import SAME_ORIGIN, AdminToken
from leaderboard_service.openapi import NOT_READ, TOKEN_ERRORS, refused_with

router = APIRouter(tags=["definitions"], route_class=CompiledRoute)


@router.get(
    calls.BOARDS.path,
    response_description="A page of boards.",
    response_model=BoardPage,
    responses=refused_with(InvalidPayload, Unavailable),
)
async def list_boards(query: Annotated[BoardsQuery, Query()], definitions: BoardDefinitions) -> dict[str, Any]:
    """All boards and their rules, by name, a hundred a page."""
    found, cursor = await definitions.page(query.cursor or "")
    return {"boards": [_of_saved(saved) for saved in found], "next_cursor": cursor}


@router.get(
    calls.BOARD.path,
    response_description="The board.",
    response_model=BoardInFull,
    responses=refused_with(BoardNotFound, InvalidPayload, Unavailable),
)
async def get_board(board: BoardName, definitions: BoardDefinitions) -> dict[str, Any]:
    """One board: its rules, and how many players it has."""
    found = await definitions.overview(board)
    return {**_of_saved(found.saved), "entries": found.entries}


@router.put(
    calls.DEFINE.path,
    response_description="The board is made, everywhere.",
    dependencies=SAME_ORIGIN,
    status_code=201,
    response_model=BoardDefined,
    responses={
        200: {"model": BoardDefined, "description": "The board as it is defined now, everywhere."},
        **refused_with(
            *(*TOKEN_ERRORS, Forbidden, ForbiddenOrigin, FixedField, TooManyBoards),
            *(*NOT_READ, InvalidPayload, Unavailable, NotEverywhere),
        ),
    },
)
async def define_board(
    board: BoardName, body: DefinitionBody, _caller: AdminToken, definitions: BoardDefinitions
) -> JSONReply:
    """Make a board, or state its rules, with an administrator's token.

    All of them: a rule that is left out is as it was at the beginning. Every score that is sent after the answer goes
    by them. The same once more changes nothing. What a board's order rests on never changes (409 `fixed_field`):
    `operator`, `order`, `ties` and `regions`. 503 `not_everywhere` says that the rules are saved and some Redis does
    not go by them yet: a worker tells it, and the same call again says when.
    """
    told = await definitions.state(board, body.rules(), body.model_fields_set)
    return JSONReply({"ok": True, **_of(told.definition)}, 201 if told.made else 200)


@router.delete(
    calls.UNDEFINE.path,
    response_description="The board is gone.",
    dependencies=SAME_ORIGIN,
    response_model=BoardRemoved,
    responses=refused_with(
        *(*TOKEN_ERRORS, Forbidden, ForbiddenOrigin, BoardNotFound, MainBoard),
        *(InvalidPayload, Unavailable, NotEverywhere),
    ),
)
async def remove_board(board: BoardName, _caller: AdminToken, definitions: BoardDefinitions) -> dict[str, Any]:
    """Take a board away for good, with an administrator's token.

    Its entries go with it, and nothing that was sent to it before comes back, also not on a board that gets its name
    afterwards. The board `main` is always there.
    """
    await definitions.remove(board)
    return {"ok": True, "board": board}


def _of(definition: Definition) -> dict[str, Any]:
    board = definition.board
    return {"board": board.name, "version": board.version, "definition": asdict(board.rules)}


def _of_saved(saved: SavedDefinition) -> dict[str, Any]:
    board = saved.definition.board
    return {
        "board": board.name,
        "version": board.version,
        "everywhere": saved.everywhere,
        "definition": asdict(board.rules),
    }
