"""Delays and the retry budget, on a clock that the test moves."""

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.upstream.retry import RetryBudget, full_jitter
from tests.virtual_time import Clock


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_delay_lies_between_zero_and_its_doubling_bound(attempt, chance):
    """Whatever the attempt, 0 <= delay <= min(cap, base * 2**attempt)."""
    delay = full_jitter(attempt, base=0.05, cap=1.0, random=lambda: chance)
    assert 0 <= delay <= min(1.0, 0.05 * 2 ** min(attempt, 20))


@pytest.mark.parametrize(
    ("attempt", "bound"), [(0, 0.05), (1, 0.1), (3, 0.4), (5, 1.0), (9, 1.0)]
)
def test_the_bound_doubles_up_to_the_cap(attempt, bound):
    """The longest delay doubles with each attempt and stops at the cap."""
    assert full_jitter(attempt, random=lambda: 1.0) == pytest.approx(bound)


def test_delays_are_uniform_not_in_lockstep():
    """1000 delays pass a Kolmogorov-Smirnov test against the uniform law at 1 %."""
    source = random.Random(1)
    delays = sorted(full_jitter(2, random=source.random) / 0.2 for _ in range(1000))
    farthest = max(
        max((i + 1) / 1000 - delay, delay - i / 1000) for i, delay in enumerate(delays)
    )
    assert farthest < 1.63 / 1000**0.5


def test_the_floor_allows_retries_without_any_try():
    """A quiet service has ten retries a second: a hundred in ten, then none."""
    budget = RetryBudget(clock=Clock())
    assert [budget.take() for _ in range(101)] == [True] * 100 + [False]


def test_five_tries_earn_one_retry():
    """Above the floor, a retry costs five tries."""
    budget = RetryBudget(min_per_second=0, clock=Clock())
    answers = []
    for _ in range(10):
        budget.record_try()
        answers.append(budget.take())
    assert [number for number, given in enumerate(answers, 1) if given] == [5, 10]


def test_credits_expire():
    """What was earned but not used in ten seconds is gone."""
    clock = Clock()
    budget = RetryBudget(min_per_second=0, clock=clock)
    for _ in range(50):
        budget.record_try()
    clock.now += 8.9
    assert budget.take()
    clock.now += 1.1
    assert not budget.take()


def test_spent_floor_comes_back():
    """Ten seconds after a burst of retries the floor is there again."""
    clock = Clock()
    budget = RetryBudget(clock=clock)
    while budget.take():
        pass
    clock.now += 10
    assert budget.take()


@settings(deadline=None)
@given(
    st.floats(0, 1),
    st.integers(0, 2),
    st.lists(
        st.tuples(st.sampled_from(["try", "retry"]), st.floats(0, 3), st.integers(1, 5))
    ),
)
def test_it_answers_as_a_plain_list_of_events_would(share, floor, script):
    """Over the last ten ticks retries never exceed share * tries + the floor."""
    clock = Clock()
    budget = RetryBudget(share=share, min_per_second=floor, clock=clock)
    tries: list[float] = []
    retries: list[float] = []
    for kind, silence, times in script:
        clock.now += silence
        for _ in range(times):
            tick = clock.now // 1
            if kind == "try":
                budget.record_try()
                tries.append(tick)
                continue
            recent_tries = sum(then > tick - 10 for then in tries)
            recent_retries = sum(then > tick - 10 for then in retries)
            expected = recent_retries + 1 <= share * recent_tries + floor * 10
            assert budget.take() is expected
            if expected:
                retries.append(tick)


def load(failure_share, *, calls=3200, per_second=300, seed=0):
    """Send first tries at an even pace, each retried twice at most.

    Returns retries made, retries denied and calls that failed in the end.
    """
    chance = random.Random(seed).random
    clock = Clock(0.0)
    budget = RetryBudget(clock=clock)
    agenda = [(number / per_second, number, 0) for number in range(calls)]
    made = denied = failed = 0
    while agenda:
        clock.now, number, attempt = heapq.heappop(agenda)
        if attempt == 0:
            budget.record_try()
        if chance() >= failure_share:
            continue
        if attempt < 2 and budget.take():
            made += 1
            again = clock.now + 0.3 + full_jitter(attempt, random=chance)
            heapq.heappush(agenda, (again, number, attempt + 1))
        else:
            failed += 1
            denied += attempt < 2
    return made, denied, failed


def test_a_dead_platform_sees_a_fifth_more_and_the_floor():
    """3200 calls in 10.7 s that all fail are retried 640 times, and 10/s besides."""
    made, _, failed = load(1.0)
    assert failed == 3200
    assert made <= 0.2 * 3200 + 10 * 21


@pytest.mark.parametrize("seed", range(3))
def test_one_failure_in_five_does_not_starve(seed):
    """Of 3200 calls at 300/s under 1 % lack a retry, and 98 % succeed."""
    made, denied, failed = load(0.2, seed=seed)
    assert made > 700
    assert denied < 32
    assert failed < 64


def test_one_failure_in_five_at_half_the_rate_lacks_nothing():
    """At 150 calls/s the floor covers what the share does not."""
    assert load(0.2, calls=1600, per_second=150)[1] == 0
