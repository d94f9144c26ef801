"""Makes the errors of the codes with which write scripts refuse."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard_core.errors import (
    BoardClosed,
    Forbidden,
    LeaderboardError,
    MetadataTooLarge,
    NoSubmitsLeft,
    QueueFull,
    RateLimited,
    RegionMismatch,
    RegionRateLimited,
    ScoreOutOfBounds,
    ScoreOutOfRange,
    Unavailable,
    UserExists,
    UserNotFound,
    WarmingUp,
)
from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_core.tokens import revoked_token


class ClaimNeeded(Exception):
    """The player is not on its shard, and the caller holds no claim on the user_id: somebody else may, for a moment."""


def stale_definition() -> Unavailable:
    """The error of a write that has met another definition of the board at each of its tries."""
    return Unavailable("The board's definition is being changed, and nothing was written; try again.")


def refusal_of(code: str, detail: Sequence[str]) -> LeaderboardError | ClaimNeeded:
    """Make the error of a code with which a write script has refused. Raises ValueError for an unknown one."""
    match code:
        case "incomplete":
            return WarmingUp()
        case "queue_full":
            return QueueFull(retry_after=1, queue_length=int(detail[0]))
        case "rate_limited":
            return RateLimited(retry_after=int(detail[0]) / 1_000_000)
        case "region_rate_limited":
            return RegionRateLimited(retry_after=int(detail[0]) / 1_000_000)
        case "user_exists":
            return UserExists()
        case "claimed" | "claim_lost":
            return ClaimNeeded()
        case "invalid_token":
            return revoked_token()
        case "user_not_found":
            return UserNotFound("This player has no card yet; POST /score/create or /auth/register makes one.")
        case "region_mismatch":
            return RegionMismatch(region=detail[0])
        case "score_out_of_range":
            return ScoreOutOfRange()
        case "score_out_of_bounds":
            lowest, highest = detail
            return ScoreOutOfBounds(
                min=-MAX_EXACT_INTEGER if lowest == "-" else int(lowest),
                max=MAX_EXACT_INTEGER if highest == "-" else int(highest),
            )
        case "step_out_of_bounds":
            most = int(detail[0])
            return ScoreOutOfBounds(
                "This board takes adds of at most 'max_step' at a time; nothing was changed.",
                field="max_step",
                max_step=most,
            )
        case "no_submits_left":
            return NoSubmitsLeft(max_submits=int(detail[0]))
        case "metadata_too_large":
            return MetadataTooLarge(metadata_bytes=int(detail[0]))
        case "board_closed":
            return BoardClosed()
        case "forbidden":
            return Forbidden("Scores of this board come from the game's servers, and players begin with 0.")
        case "stale_definition":
            return stale_definition()
    raise ValueError(f"write_score refused with an unknown code: {code}")
