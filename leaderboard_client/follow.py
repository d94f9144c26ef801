"""Decide the course of a live feed: connect, read, and reconnect after the last event seen."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from leaderboard_client.calls import error_from
from leaderboard_client.errors import ConnectionFailed, LeaderboardError, NotFound, UnexpectedAnswer
from leaderboard_client.exchange import failed, may_repeat, new_request_id
from leaderboard_client.feeds import Stream
from leaderboard_client.retrying import RetryPolicy
from leaderboard_client.sse import EventParser
from leaderboard_client.steps import Answer, Emit, EmittingSteps, Failure, Open, Outcome, Read, Wait

T = TypeVar("T")

OK, NO_CONTENT = 200, 204


def follow(
    stream: Stream[T],
    base_url: str,
    policy: RetryPolicy,
    clock: Callable[[], float] = monotonic,
) -> EmittingSteps[T]:
    """Yield the steps of one live feed until it ends. Raises the LeaderboardError that ends it early.

    `policy.timeout` is the longest silence of an open connection: longer than the feed's heartbeat.
    """
    parser = EventParser(stream.last_event_id)
    deadline: float | None = clock() + policy.max_wait
    was_open = False
    attempt = 0
    while True:
        request_id = new_request_id()
        outcome = yield Open(stream.request(base_url, request_id, parser.last_event_id), policy.timeout)
        if isinstance(outcome, Answer) and outcome.status == OK:
            if not outcome.headers.get("content-type", "").startswith("text/event-stream"):
                raise _unexpected("something else than events", request_id)
            parser.restart()
            was_open, silent = True, True
            while isinstance(outcome := (yield Read()), bytes) and outcome:
                attempt, silent = 0, False
                for event in parser.feed(outcome):
                    try:
                        value = stream.feed.apply(event)
                    except (KeyError, TypeError, ValueError) as error:
                        raise _unexpected(f"an event that makes no sense: {error!r}", request_id) from error
                    if value is not None:
                        yield Emit(value)
                    if stream.feed.ended:
                        return
            if not silent:
                deadline = None if stream.max_outage is None else clock() + stream.max_outage
        if isinstance(outcome, Answer) and outcome.status == NO_CONTENT:
            return  # the standard: do not reconnect
        problem = _problem(outcome, request_id)
        if was_open and isinstance(problem, NotFound):
            return  # deleted while there was no connection
        if not may_repeat(problem, repeatable=True):
            raise problem
        pause = policy.pause(attempt, problem.retry_after, first=parser.retry_seconds or None)
        if deadline is not None and clock() + pause > deadline:
            raise problem
        yield Wait(pause)
        attempt += 1


def _problem(outcome: Outcome, request_id: str) -> LeaderboardError:
    if isinstance(outcome, Failure):
        return failed(outcome, request_id)
    if isinstance(outcome, Answer):
        return error_from(outcome, request_id)
    return ConnectionFailed("the feed broke off", code="connection_failed", request_id=request_id, maybe_done=True)


def _unexpected(what: str, request_id: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"The feed sent {what}", code="unexpected_answer", status=OK, request_id=request_id)
