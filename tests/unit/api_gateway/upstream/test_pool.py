"""Whose turn it is, and who is out: the pool without any I/O."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.upstream.pool import CHECKS_TO_EJECT, Pool, State, Upstream

URLS = ("http://a:1", "http://b:2", "http://c:3")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def picks(pool: Pool, count: int) -> list[str]:
    return [upstream.address for upstream in (pool.pick() for _ in range(count)) if upstream is not None]


def test_turns_are_fair() -> None:
    assert picks(Pool(URLS), 9) == ["a:1", "b:2", "c:3"] * 3


def test_an_ejected_upstream_leaves_its_turns_to_all_others() -> None:
    pool = Pool(URLS)
    pool.connect_failed(pool.upstreams[1], "refused")
    assert Counter(picks(pool, 10)) == {"a:1": 5, "c:3": 5}


@given(st.integers(1, 6), st.integers(1, 40), st.data())
def test_any_healthy_subset_shares_evenly(size: int, turns: int, data: st.DataObject) -> None:
    pool = Pool([f"http://s:{port}" for port in range(1, size + 1)])
    out = data.draw(st.sets(st.integers(0, size - 1), max_size=size - 1))
    for index in out:
        pool.connect_failed(pool.upstreams[index], "refused")
    healthy = size - len(out)
    counts = Counter(picks(pool, turns * healthy))
    assert sorted(counts.values()) == [turns] * healthy


def test_a_repeat_goes_to_each_other_upstream_once() -> None:
    pool = Pool(URLS)
    tried: list[Upstream] = []
    while (upstream := pool.pick(tried)) is not None:
        tried.append(upstream)
    assert [upstream.address for upstream in tried] == ["a:1", "b:2", "c:3"]


def test_without_a_healthy_one_the_others_are_tried_and_the_stopping_last() -> None:
    pool = Pool(URLS)
    first, second, third = pool.upstreams
    pool.check_passed(first, 503, stopping=True)
    pool.connect_failed(second, "refused")
    assert [pool.pick(), pool.pick([third]), pool.pick([third, second])] == [third, second, first]
    assert pool.pick(pool.upstreams) is None


def state_of(upstream: Upstream) -> State:
    return upstream.state


def test_one_failed_connection_ejects_and_one_answer_returns() -> None:
    pool = Pool(URLS)
    upstream = pool.upstreams[0]
    pool.connect_failed(upstream, "refused")
    assert state_of(upstream) is State.EJECTED
    pool.answered(upstream)
    assert state_of(upstream) is State.HEALTHY
    pool.connect_failed(upstream, "refused")
    pool.check_passed(upstream, 200, stopping=False)
    assert upstream.state is State.HEALTHY


def test_failed_checks_eject_only_in_a_row() -> None:
    pool = Pool(URLS)
    upstream = pool.upstreams[0]
    pool.check_passed(upstream, 200, stopping=False)
    for _ in range(5):
        for _ in range(CHECKS_TO_EJECT - 1):
            pool.check_failed(upstream, "time-out")
        assert upstream.state is State.HEALTHY
        pool.check_passed(upstream, 200, stopping=False)
    for _ in range(CHECKS_TO_EJECT):
        pool.check_failed(upstream, "time-out")
    assert upstream.state is State.EJECTED


def test_an_upstream_that_never_answered_is_ejected_by_its_first_failed_check() -> None:
    pool = Pool(URLS)
    pool.check_failed(pool.upstreams[0], "refused")
    pool.answered(pool.upstreams[1])
    pool.check_failed(pool.upstreams[1], "refused")
    assert [upstream.state for upstream in pool.upstreams[:2]] == [State.EJECTED, State.HEALTHY]


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_any_answer_means_reachable(status: int) -> None:
    pool = Pool(URLS)
    pool.connect_failed(pool.upstreams[0], "refused")
    pool.check_passed(pool.upstreams[0], status, stopping=False)
    assert pool.upstreams[0].state is State.HEALTHY
    assert pool.report()[0]["health_status"] == status


def test_a_stopping_upstream_stays_out_until_a_check_says_otherwise() -> None:
    pool = Pool(URLS)
    upstream = pool.upstreams[0]
    pool.check_passed(upstream, 503, stopping=True)
    pool.answered(upstream)
    assert state_of(upstream) is State.STOPPING
    pool.connect_failed(upstream, "refused")
    assert state_of(upstream) is State.EJECTED
    pool.check_passed(upstream, 200, stopping=False)
    assert upstream.state is State.HEALTHY


def test_changes_are_told_once_and_dated() -> None:
    clock = Clock()
    heard: list[tuple[str, State, State, str]] = []
    pool = Pool(URLS, clock=clock, listener=lambda one, old, new, why: heard.append((one.address, old, new, why)))
    clock.now = 110.0
    for _ in range(3):
        pool.connect_failed(pool.upstreams[0], "refused")
    clock.now = 112.5
    assert heard == [("a:1", State.HEALTHY, State.EJECTED, "refused")]
    assert [one["seconds_in_state"] for one in pool.report()] == [2.5, 12.5, 12.5]


def test_urls_are_taken_once_and_at_least_one_is_needed() -> None:
    assert len(Pool([*URLS, URLS[0]])) == 3
    with pytest.raises(ValueError, match="at least one"):
        Pool([])


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("[::1]", True), ("127.0.0.2", False), ("service-1", False)],
)
def test_which_upstreams_are_of_this_machine(host: str, local: bool) -> None:
    assert Upstream(f"http://{host}:5000").is_local is local
