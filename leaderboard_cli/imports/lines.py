"""Read one line of an import: a JSON object that says where a player stood on a board of another system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

import orjson

from leaderboard_core.boards import Board
from leaderboard_core.events import MAX_SUBMITS
from leaderboard_core.names import MAX_NAME, MAX_USER_ID, is_name, is_user_id, why_no_new_name
from leaderboard_core.settings import MAX_EXACT_INTEGER
from worker_service.importing.states import BEFORE_ALL, State

FIELDS: Final = ("user_id", "name", "region", "board", "score", "submits", "metadata", "reached_at")
_KNOWN: Final = frozenset((*FIELDS, "username"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class BadLine(Exception):
    """A line cannot be taken; the text names the field and says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What lines are read by: the boards and regions that there are, and what stands for what a line leaves out.

    `as_of` and `now` are µs: when it was as lines say that have no time, and what is later is not there yet.
    """

    boards: Mapping[str, Board]
    regions: Sequence[str]
    now: int
    board: str = ""
    region: str = ""
    as_of: int = BEFORE_ALL

    def read(self, number: int, text: bytes) -> State:
        """Read a line. Raises BadLine."""
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BadLine(f"is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise BadLine(
                "is no JSON object" + (": jq -c '.[]' makes lines of a list" if text.startswith(b"[") else "")
            )
        if not _KNOWN.issuperset(found):
            _refuse(min(found.keys() - _KNOWN), f"is none of the fields {', '.join(FIELDS)}")
        board = self._board(found)
        reached_at = found.get("reached_at")
        return State(
            line=number,
            user_id=_user_id(found.get("user_id")),
            name=_name(found),
            region=self._region(found.get("region")),
            default_region=self.region,
            board=board,
            score=_score(found.get("score"), board),
            clock=self.as_of if reached_at is None else read_time("reached_at", reached_at, self.now),
            submits=_submits(found.get("submits")),
            metadata=_metadata(found.get("metadata"), board),
        )

    def _board(self, found: Mapping[str, Any]) -> Board:
        name = found.get("board")
        if name is None:
            name = self.board
            if not name:
                _refuse("board", "is missing, and so is --board for lines that name none")
        board = self.boards.get(name) if isinstance(name, str) else None
        if board is None:
            _refuse("board", f"there is none of the name {_shown(name)}; `leaderboard boards apply` makes it")
        return board

    def _region(self, found: object) -> str:
        if found is None:
            return ""
        if found in self.regions:
            return str(found)
        if not isinstance(found, str) or found.upper() not in self.regions:
            _refuse("region", f"{_shown(found)} is none of {', '.join(self.regions)}")
        return found.upper()


def read_time(field: str, found: object, now: int) -> int:
    """Read a time with its zone (ISO 8601) that is not later than `now`: µs. Raises BadLine."""
    try:
        moment = datetime.fromisoformat(found) if isinstance(found, str) else None
    except ValueError:
        moment = None
    if moment is None:
        _refuse(field, f"{_shown(found)} is no time such as 2026-11-27T17:00:00Z")
    if moment.tzinfo is None:
        example = f"{moment.isoformat()}Z" if len(str(found)) <= len("2026-11-27") else f"{found}Z"
        _refuse(field, f"{found} has no time zone: write {example}, or with +01:00 at its end")
    micros = (moment - _EPOCH) // timedelta(microseconds=1)
    if micros < BEFORE_ALL:
        _refuse(field, f"{found} is not after the beginning of 1970")
    if micros > now:
        _refuse(field, f"{found} is in the future")
    return micros


def _user_id(found: object) -> str:
    if not isinstance(found, str):
        _refuse("user_id", "is missing" if found is None else f"{_shown(found)} is no text; put it in quotes")
    if not is_user_id(found):
        _refuse(
            "user_id", f'is to have 1-{MAX_USER_ID} characters, none of them white space, a control character or "/"'
        )
    return found


def _name(line: Mapping[str, Any]) -> str:
    name, username = line.get("name"), line.get("username")
    if name is not None and username is not None:
        _refuse("username", "is the same as name; give one of them")
    found = username if name is None else name
    if found is None:
        return ""
    if not isinstance(found, str) or not is_name(found):
        why: str | None = f"is to be a text of 1-{MAX_NAME} characters, none of them a control character"
    else:
        why = why_no_new_name(found)
    if why:
        _refuse("username" if name is None else "name", why)
    return str(found)


def _score(found: object, board: Board) -> int:
    rules = board.rules
    if found is None:
        _refuse("score", "is missing")
    if isinstance(found, bool) or not isinstance(found, int | float):
        _refuse("score", f"{_shown(found)} is no number")
    if found != found // 1 or not -MAX_EXACT_INTEGER <= found <= MAX_EXACT_INTEGER:
        why = f"{found} is no whole number of at most {MAX_EXACT_INTEGER}"
        if rules.decimals and abs(found) <= MAX_EXACT_INTEGER:
            why += (
                f"; {board.name} shows {rules.decimals} decimals of whole numbers, so multiply by {10**rules.decimals}"
            )
        _refuse("score", why)
    if not rules.min_score <= found <= rules.max_score:
        _refuse("score", f"{int(found)} is not from {rules.min_score} to {rules.max_score}, the bounds of {board.name}")
    return int(found)


def _submits(found: object) -> int:
    if found is None:
        return 0
    if type(found) is not int or not 0 <= found <= MAX_SUBMITS:
        _refuse("submits", f"{_shown(found)} is no whole number from 0 to {MAX_SUBMITS}")
    return found


def _metadata(found: object, board: Board) -> str:
    if found is None:
        return ""
    if not isinstance(found, dict):
        _refuse("metadata", "is no JSON object")
    most = board.rules.metadata_bytes
    try:
        text = orjson.dumps(found)
    except orjson.JSONEncodeError as error:
        _refuse("metadata", f"cannot be kept: {error}")
    if len(text) > most:
        _refuse("metadata", f"has {len(text)} bytes; {board.name} keeps {most or 'none'} (metadata_bytes)")
    return text.decode()


def _shown(found: object) -> str:
    try:
        text = orjson.dumps(found).decode()
    except orjson.JSONEncodeError:
        text = str(found)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _refuse(field: str, why: str) -> NoReturn:
    raise BadLine(f"{field}: {why}")
