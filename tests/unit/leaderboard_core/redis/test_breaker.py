"""The circuit breaker: it opens after failures in a row, lets one call try after a pause, and doubles the pause."""

from __future__ import annotations

from leaderboard_core.redis.breaker import FAILURES, CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def permitted(breaker: CircuitBreaker) -> int:
    permit = breaker.permit()
    assert permit is not None
    return permit


def fail(breaker: CircuitBreaker, times: int = FAILURES) -> None:
    for _ in range(times):
        breaker.failed(permitted(breaker))


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock)
    fail(breaker)
    assert breaker.is_open
    return breaker


def test_the_pause_doubles_with_every_try_that_fails_and_begins_anew_after_a_success() -> None:
    clock = Clock()
    breaker = opened(clock)
    for pause in (0.25, 0.25, 0.5, 1.0, 2.0, 2.0):
        clock.now += pause - 0.01
        assert breaker.permit() is None
        clock.now += 0.01
        trial = permitted(breaker)
        assert breaker.permit() is None, "one call tries"
        breaker.failed(trial)
    clock.now += 2.0
    breaker.succeeded(permitted(breaker))
    assert not breaker.is_open
    fail(breaker)
    assert breaker.permit() is None
    clock.now += 0.25
    assert breaker.permit() is not None


def test_a_success_in_between_begins_the_count_anew() -> None:
    breaker = CircuitBreaker(Clock())
    for _ in range(5):
        fail(breaker, FAILURES - 1)
        breaker.succeeded(permitted(breaker))
    assert not breaker.is_open


def test_calls_in_flight_together_are_one_failure() -> None:
    breaker = CircuitBreaker(Clock())
    flight = [permitted(breaker) for _ in range(5)]
    for permit in flight:
        breaker.failed(permit)
    assert not breaker.is_open
    assert breaker.permit() is not None


def test_a_try_that_was_given_up_leaves_the_next_call_to_try() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 0.25
    given_up = permitted(breaker)
    breaker.abandoned(given_up)
    assert breaker.is_open
    trial = permitted(breaker)
    breaker.failed(given_up)
    breaker.abandoned(given_up)
    assert breaker.permit() is None, "a trial is under way"
    breaker.succeeded(trial)
    assert not breaker.is_open


def test_stragglers_of_an_earlier_period_change_nothing() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock)
    early = permitted(breaker)
    fail(breaker)
    # While it is open: neither longer nor closed.
    breaker.failed(early)
    breaker.succeeded(early)
    assert breaker.is_open
    clock.now += 0.25
    trial = permitted(breaker)
    # While a trial is under way: it goes on, alone, and its pause does not double.
    breaker.failed(early)
    breaker.succeeded(early)
    breaker.abandoned(early)
    assert breaker.is_open
    assert breaker.permit() is None
    breaker.failed(trial)
    clock.now += 0.25
    breaker.succeeded(permitted(breaker))
    # After it closed: it stays so, and the next failure is the first.
    for _ in range(9):
        breaker.failed(early)
    fail(breaker, FAILURES - 1)
    assert breaker.permit() is not None
