"""Deadlines on a clock that the test moves."""

from hypothesis import given
from hypothesis import strategies as st

from aims_server.deadline import Deadline
from tests.virtual_time import Clock

SECONDS = st.floats(min_value=0, max_value=1e6)


def test_remaining_counts_down_to_zero_and_stays():
    """What is left shrinks with the clock and is never negative."""
    clock = Clock()
    deadline = Deadline(2.5, clock)
    assert (deadline.remaining(), deadline.expired) == (2.5, False)
    clock.now += 2
    assert (deadline.remaining(), deadline.expired) == (0.5, False)
    clock.now += 7
    assert (deadline.remaining(), deadline.expired) == (0.0, True)


def test_expires_at_its_moment():
    """The moment itself is already too late."""
    clock = Clock()
    deadline = Deadline(2.5, clock)
    clock.now = deadline.at
    assert deadline.expired


@given(SECONDS, SECONDS)
def test_extend_takes_the_later_moment(mine, others):
    """Extending never shortens, whatever the other deadline is."""
    clock = Clock()
    deadline, other = Deadline(mine, clock), Deadline(others, clock)
    deadline.extend(other)
    assert deadline.at == max(1000 + mine, 1000 + others)
    assert other.at == 1000 + others


def test_repr_tells_the_seconds_left():
    """A deadline in a log line reads as what is left."""
    assert repr(Deadline(1.5, Clock())) == "Deadline(+1.500 s)"
