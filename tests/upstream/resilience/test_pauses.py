"""Pauses that the platform asks for: for the caller told so, seldom for all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.upstream.resilience import CallerKey
from aims_server.upstream.resilience.pauses import Pauses
from tests.virtual_time import Clock

student, address = CallerKey.student, CallerKey.address


@pytest.fixture(name="pauses")
def _pauses(clock):
    return Pauses(clock=clock)


def test_a_pause_holds_for_who_was_told(pauses, clock):
    """It holds for exactly that long, and for nobody else."""
    pauses.add(student(1), 5.0)
    assert pauses.left(student(2)) == pauses.left(address(1)) == 0.0
    clock.now += 4.5
    assert pauses.left(student(1)) == 0.5
    clock.now += 0.5
    assert pauses.left(student(1)) == 0.0


def test_the_longest_wish_counts(pauses, clock):
    """Of several pauses of one caller the longest counts."""
    pauses.add(student(1), 60.0)
    pauses.add(student(1), 1.0)
    clock.now += 30
    assert pauses.left(student(1)) == 30.0


def test_three_callers_pause_the_endpoint(pauses, clock):
    """It pauses for as long as three of them have to."""
    pauses.add(student(1), 60.0)
    pauses.add(address("a"), 20.0)
    pauses.add(student(1), 60.0)
    assert pauses.left(student(9)) == 0.0
    pauses.add(student(2), 10.0)
    assert pauses.left(student(9)) == 10.0
    clock.now += 10
    assert pauses.left(student(9)) == 0.0
    assert pauses.left(student(1)) == 50.0


def test_wishes_that_are_over_do_not_count(pauses, clock):
    """Three callers must be told at a time."""
    pauses.add(student(1), 5.0)
    pauses.add(student(2), 5.0)
    clock.now += 5
    pauses.add(student(3), 5.0)
    assert pauses.left(student(9)) == 0.0


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 9), st.floats(0, 3))))
def test_no_more_is_remembered_than_allowed(script):
    """No more pauses than the limit are kept, and none is longer than was told."""
    clock = Clock()
    pauses = Pauses(limit=4, clock=clock)
    longest = 0.0
    for number, seconds, silence in script:
        pauses.add(student(number), seconds)
        longest = max(longest, clock.now + seconds)
        assert len(pauses._until) <= 4
        assert pauses.left(student(number)) <= longest - clock.now + 1e-9
        clock.now += silence
