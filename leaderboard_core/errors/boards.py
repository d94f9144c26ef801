"""Define the errors of boards and of scores on them."""

from __future__ import annotations

from typing import Any

from leaderboard_core.errors.base import LeaderboardError, RetryLater
from leaderboard_core.errors.requests import UserNotFound


class NoEntry(UserNotFound):
    code = "no_entry"
    default_message = "This player is not on this board."


class BoardNotFound(LeaderboardError):
    status, code = 404, "board_not_found"
    default_message = "There is no such board; GET /boards lists those that there are."


class BoardClosed(LeaderboardError):
    status, code = 409, "board_closed"
    default_message = "This board takes no scores now; nothing was changed."


class FixedField(LeaderboardError):
    status, code = 409, "fixed_field"
    default_message = "This field of the board cannot be changed."

    def __init__(self, message: str | None = None, *, field: str = "", **details: Any) -> None:
        super().__init__(message, field=field, **details)


class MainBoard(LeaderboardError):
    status, code = 409, "main_board"
    default_message = "The board 'main' is always there; empty it by deleting its players."


class NoSubmitsLeft(LeaderboardError):
    status, code = 409, "no_submits_left"
    default_message = "This board counts 'max_submits' scores of a player, and they are used up; nothing was changed."


class TooManyBoards(LeaderboardError):
    status, code = 409, "too_many_boards"
    default_message = "There are as many boards as BOARDS_MAX allows; delete one first."


class ScoreOutOfRange(LeaderboardError):
    status, code = 422, "score_out_of_range"
    default_message = "The score would leave ±(2^53-1); nothing was changed."


class ScoreOutOfBounds(LeaderboardError):
    status, code = 422, "score_out_of_bounds"
    default_message = "This board takes scores from 'min' to 'max' only; nothing was changed."


class WrongOperator(LeaderboardError):
    status, code = 422, "wrong_operator"
    default_message = "The board's 'operator' does not do this; nothing was changed."


class MetadataTooLarge(LeaderboardError):
    status, code = 422, "metadata_too_large"
    default_message = "This board keeps at most 'metadata_bytes' bytes of JSON beside a score; nothing was changed."


class NotEverywhere(RetryLater):
    status, code = 503, "not_everywhere"
    default_message = (
        "The definition is saved, and not every Redis goes by it yet: that follows by itself; the same call says when."
    )
