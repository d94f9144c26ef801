"""The circuit breaker: it opens after some failures, lets one call try after a pause, and doubles the pause."""

from __future__ import annotations

from leaderboard_core.redis.breaker import FAILURES, CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock)
    for _ in range(FAILURES):
        assert breaker.allows()
        breaker.failed()
    assert breaker.is_open
    return breaker


def test_the_pause_doubles_with_every_try_that_fails_and_begins_anew_after_a_success() -> None:
    clock = Clock()
    breaker = opened(clock)
    for pause in (0.25, 0.25, 0.5, 1.0, 2.0, 2.0):
        clock.now += pause - 0.01
        assert not breaker.allows()
        clock.now += 0.01
        assert breaker.allows()
        assert not breaker.allows(), "one call tries"
        breaker.failed()
    clock.now += 2.0
    assert breaker.allows()
    breaker.succeeded()
    assert not breaker.is_open
    for _ in range(FAILURES):
        breaker.failed()
    clock.now += 0.25
    assert breaker.allows()


def test_a_try_that_was_given_up_leaves_the_next_call_to_try() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 0.25
    assert breaker.allows()
    breaker.abandoned()
    assert breaker.is_open
    assert breaker.allows()


def test_calls_that_fail_late_do_not_double_the_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    for _ in range(9):
        breaker.failed()
    clock.now += 0.25
    assert breaker.allows()
