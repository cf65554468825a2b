"""Delays and the retry budget, on a clock that the test moves."""

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.upstream.resilience.retry import RetryBudget, full_jitter
from tests.virtual_time import Clock


@pytest.mark.parametrize(
    ("attempt", "bound"), [(0, 0.05), (1, 0.1), (3, 0.4), (5, 0.5), (9, 0.5)]
)
def test_the_bound_doubles_up_to_the_cap(attempt, bound):
    """The longest delay doubles with each attempt and stops at the cap."""
    assert full_jitter(attempt, lambda: 1.0) == pytest.approx(bound)


def test_delays_are_uniform_not_in_lockstep():
    """1000 delays pass a Kolmogorov-Smirnov test against the uniform law at 1 %."""
    source = random.Random(1)
    delays = sorted(full_jitter(2, source.random) / 0.2 for _ in range(1000))
    farthest = max(
        max((i + 1) / 1000 - delay, delay - i / 1000) for i, delay in enumerate(delays)
    )
    assert farthest < 1.63 / 1000**0.5


def test_the_floor_allows_retries_without_any_try():
    """A quiet service has sixteen in ten seconds, then none."""
    budget = RetryBudget(clock=Clock())
    assert [budget.take(number) for number in range(17)] == [True] * 16 + [False]


def test_a_caller_has_half_of_the_floor_and_twice_what_it_earned():
    """One caller may use half of the floor and twice what it earned; always one."""
    budget = RetryBudget(share=0.25, floor=4, clock=Clock())
    for caller in "aabbbbbbcccccccc":
        budget.tries.add(caller)
    assert [budget.take("a") for _ in range(4)] == [True] * 3 + [False]
    assert [budget.take("b") for _ in range(6)] == [True] * 5 + [False]
    budget = RetryBudget(floor=1, clock=Clock())
    assert [budget.take("a"), budget.take("a")] == [True, False]


def test_what_is_given_back_may_be_taken_again():
    """By the same caller or another one."""
    budget = RetryBudget(floor=2.0, clock=Clock())
    assert [budget.take(caller) for caller in "aab"] == [True, False, True]
    budget.give_back("a")
    assert [budget.take(caller) for caller in "ba"] == [False, True]
    budget.give_back("a")
    assert budget.take("c")


def test_hedges_are_a_tenth_of_the_first_tries_and_ten():
    """More would load a slow platform further."""
    retries = RetryBudget(clock=Clock())
    for student in range(200):
        retries.tries.add(student)
    hedges = retries.for_hedges()
    assert sum(map(hedges.take, range(200))) == 30
    assert retries.take(0)


@given(
    st.floats(0, 1),
    st.integers(0, 20),
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from("abc"),
            st.floats(0, 3) | st.sampled_from([0.0, 9.0, 10.0]),
            st.integers(1, 5),
        )
    ),
)
def test_it_answers_as_a_plain_list_of_events_would(share, floor, script):
    """Over the last ten ticks retries never exceed share * tries + the floor, nor one
    caller's twice its own share and half of the floor.
    """
    clock = Clock()
    budget = RetryBudget(share=share, floor=floor, clock=clock)
    tries: list[tuple[float, str]] = []
    retries: list[tuple[float, str]] = []
    for is_try, caller, silence, times in script:
        clock.now += silence
        for _ in range(times):
            tick = clock.now // 1
            if is_try:
                budget.tries.add(caller)
                tries.append((tick, caller))
                continue
            tried = [each for then, each in tries if then > tick - 10]
            retried = [each for then, each in retries if then > tick - 10]
            expected = len(retried) + 1 <= share * len(tried) + floor
            own = max(1, 2 * share * tried.count(caller) + floor / 2)
            expected &= retried.count(caller) + 1 <= own
            assert budget.take(caller) is expected
            if expected:
                retries.append((tick, caller))


def load(failure_share, *, calls=3200, per_second=300, seed=0):
    """Send first tries at an even pace, retried as often as the budget allows.

    Returns retries made and calls that failed in the end.
    """
    chance = random.Random(seed).random
    clock = Clock(0.0)
    budget = RetryBudget(clock=clock)
    agenda = [(number / per_second, number, 0) for number in range(calls)]
    made = failed = 0
    while agenda:
        clock.now, number, attempt = heapq.heappop(agenda)
        if attempt == 0:
            budget.tries.add(number % 100)
        if chance() >= failure_share:
            continue
        if budget.take(number % 100):
            made += 1
            again = clock.now + 0.3 + full_jitter(attempt, chance)
            heapq.heappush(agenda, (again, number, attempt + 1))
        else:
            failed += 1
    return made, failed


def test_a_dead_platform_sees_a_third_more_and_the_floor():
    """3200 calls in 10.7 s that all fail are retried 960 times, and 32 besides."""
    made, failed = load(1.0)
    assert failed == 3200
    assert made <= 0.3 * 3200 + 32


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("per_second", [10, 300])
def test_one_failure_in_five_is_mended(seed, per_second):
    """Of 3200 calls under three in a thousand fail in the end."""
    made, failed = load(0.2, seed=seed, per_second=per_second)
    assert made > 700
    assert failed < 10
