"""Decide the course of one call: what to send, what to retry, and when to give up."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import TypeVar

from leaderboard_client.calls import Call
from leaderboard_client.errors import ConnectionFailed, LeaderboardError, RateLimited, Unavailable
from leaderboard_client.retrying import RetryPolicy
from leaderboard_client.steps import Answer, Failure, Outcome, Send, Steps, Wait

T = TypeVar("T")


def new_request_id() -> str:
    """Make an X-Request-ID, the same for every attempt of a call."""
    return secrets.token_hex(16)


def exchange(call: Call[T], base_url: str, policy: RetryPolicy, clock: Callable[[], float] = monotonic) -> Steps[T]:
    """Yield the steps of one call and of those made instead of it; return the result.

    Raises the LeaderboardError that the last of them ends with.
    """
    deadline = clock() + policy.max_wait
    while True:
        try:
            return (yield from _attempts(call, base_url, policy, deadline, clock))
        except LeaderboardError as error:
            if call.instead is None:
                raise
            following = call.instead(error)
            if following is error:
                raise
            if isinstance(following, LeaderboardError):
                raise following from error
            call = following


def _attempts(
    call: Call[T], base_url: str, policy: RetryPolicy, deadline: float, clock: Callable[[], float]
) -> Steps[T]:
    """Yield the steps of one call; return its result. Raises the LeaderboardError that it ends with."""
    request_id = new_request_id()
    request = call.request(base_url, request_id)
    timeout = policy.timeout
    for attempt in count():
        found = _interpret(call, (yield Send(request, timeout)), request_id)
        if isinstance(found, LeaderboardError):
            if not may_repeat(found, repeatable=call.repeatable):
                raise found
            retry_after = found.retry_after
        else:
            retry_after = call.again(found) if call.again is not None else None
            if retry_after is None:
                return found
        pause = policy.pause(attempt, retry_after)
        left = deadline - clock() - pause
        if left <= 0:
            if isinstance(found, LeaderboardError):
                found.add_note(f"given up after {attempt + 1} attempts, with max_wait={policy.max_wait:g} s")
                raise found
            return found
        yield Wait(pause)
        timeout = min(policy.timeout, left)
    raise AssertionError("counting ends never")


def may_repeat(error: LeaderboardError, *, repeatable: bool) -> bool:
    """Tell whether a call that ended with this error may be sent again.

    A 429 was refused before anything was done, and a request that was never sent did nothing. After any other failure
    the effect is unknown, so only a `repeatable` call may be sent again.
    """
    match error:
        case ConnectionFailed(hopeless=True):
            return False
        case RateLimited() | ConnectionFailed(maybe_done=False):
            return True
        case ConnectionFailed() | Unavailable():
            return repeatable
    return False


def failed(failure: Failure, request_id: str) -> ConnectionFailed:
    """Build the exception for a request without a complete answer."""
    error = ConnectionFailed(
        str(failure.error) or type(failure.error).__name__,
        code="timed_out" if failure.timed_out else "connection_failed",
        request_id=request_id,
        maybe_done=failure.maybe_done,
        hopeless=failure.hopeless,
    )
    error.__cause__ = failure.error
    return error


def _interpret(call: Call[T], outcome: Outcome, request_id: str) -> T | LeaderboardError:
    if isinstance(outcome, Answer):
        return call.interpret(outcome, request_id)
    assert isinstance(outcome, Failure)  # noqa: S101 - the outcome of a Send is one of the two
    return failed(outcome, request_id)
