"""The envelope of every error is pinned."""

from __future__ import annotations

import inspect
import json
import re

import pytest

from leaderboard_core import errors
from leaderboard_core.errors import LeaderboardError, RetryLater, all_errors

PINNED = {
    "internal_error": 500,
    "missing_token": 401,
    "invalid_token": 401,
    "invalid_credentials": 401,
    "forbidden": 403,
    "forbidden_origin": 403,
    "not_found": 404,
    "user_not_found": 404,
    "no_entry": 404,
    "board_not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "user_exists": 409,
    "region_mismatch": 409,
    "board_closed": 409,
    "fixed_field": 409,
    "main_board": 409,
    "no_submits_left": 409,
    "too_many_boards": 409,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "invalid_payload": 422,
    "unknown_region": 422,
    "score_out_of_range": 422,
    "score_out_of_bounds": 422,
    "wrong_operator": 422,
    "metadata_too_large": 422,
    "rate_limited": 429,
    "region_rate_limited": 429,
    "queue_full": 429,
    "bad_gateway": 502,
    "unavailable": 503,
    "warming_up": 503,
    "repartitioning": 503,
    "not_everywhere": 503,
    "too_many_streams": 503,
    "gateway_timeout": 504,
}


def made(kind: type[LeaderboardError]) -> LeaderboardError:
    if kind is errors.UnknownRegion:
        return errors.UnknownRegion("MARS", ("EU", "GLOBAL"))
    return kind()


def test_the_codes_and_their_statuses() -> None:
    assert {code: kind.status for code, kind in all_errors().items()} == PINNED


def test_every_error_of_the_module_is_listed() -> None:
    classes = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, LeaderboardError)}
    # RetryLater has no code of its own: it is what some errors have in common.
    assert classes - set(all_errors().values()) <= {RetryLater, LeaderboardError}


def test_the_module_docstring_draws_the_tree_of_the_classes() -> None:
    assert sorted(drawn()) == sorted(tree(LeaderboardError))


def drawn() -> list[tuple[str, ...]]:
    """Return (parent, class, status, code) of each line of the drawing."""
    found: list[tuple[str, ...]] = []
    parents = [""]
    for line in re.finditer(r"^( *)([A-Z]\w+)(?: +(\d{3}) (\w+))?$", errors.__doc__ or "", flags=re.MULTILINE):
        indent, name, status, code = line.groups("")
        del parents[1 + len(indent) // 4 :]
        found.append((parents[-1], name, status, code))
        parents.append(name)
    return found


def tree(kind: type[LeaderboardError], parent: str = "") -> list[tuple[str, ...]]:
    """Return the same of a class and everything below it; RetryLater is never raised itself."""
    told = ("", "") if kind is RetryLater else (str(kind.status), kind.code)
    below = (entry for child in kind.__subclasses__() for entry in tree(child, kind.__name__))
    return [(parent, kind.__name__, *told), *below]


@pytest.mark.parametrize("code", PINNED)
def test_the_envelope(code: str) -> None:
    error = made(all_errors()[code])
    envelope = json.loads(json.dumps(error.envelope()))
    assert list(envelope)[:2] == ["error", "message"]
    assert envelope["error"] == code
    assert envelope["message"].endswith(".")
    if isinstance(error, RetryLater):
        assert envelope["retry_after"] > 0
        assert int(error.headers["Retry-After"]) >= envelope["retry_after"]
    if error.status in (429, 503):
        assert isinstance(error, RetryLater)
    if code in ("missing_token", "invalid_token"):
        assert error.headers["WWW-Authenticate"] == "Bearer"


def test_details_stand_beside_the_message() -> None:
    assert errors.UnknownRegion("x" * 500, ("EU", "GLOBAL")).envelope() == {
        "error": "unknown_region",
        "message": "Choose one of EU, GLOBAL.",
        "region": "x" * 64,
        "regions": ["EU", "GLOBAL"],
    }
    assert errors.QueueFull("m", retry_after=0.0004, queue_length=5).envelope() == {
        "error": "queue_full",
        "message": "m",
        "retry_after": 0.001,
        "queue_length": 5,
    }
    assert errors.RateLimited(retry_after=1.2).headers == {"Retry-After": "2"}
    assert errors.MethodNotAllowed(allow="GET").headers == {"Allow": "GET"}
