"""How many classes may be missed, or must be attended: exact at every edge."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aims_server.domain.percentages import percent_of
from aims_server.domain.planner import planned


@pytest.mark.parametrize(
    ("present", "total", "target", "miss", "attend"),
    [
        (31, 40, 75, 1, 0),
        (30, 40, 75, 0, 0),
        (29, 40, 75, 0, 4),
        (464, 600, 75, 18, 0),
        (40, 40, 100, 0, 0),
        (39, 40, 100, 0, None),
        (0, 1, 75, 0, 3),
        (0, 0, 75, None, None),
        (30.5, 40, 75, 0, 0),
        (29.5, 40, 75, 0, 2),
        (41, 40, 75, 14, 0),
        (1, 100, 1, 0, 0),
        (2, 100, 1, 100, 0),
        (2, 3, 67, 0, 1),
    ],
)
def test_the_planners_figures(present, total, target, miss, attend):
    """The figures equal ones computed by hand, at the edges and for half classes."""
    assert planned(present, total, target) == (miss, attend)


counts = st.integers(0, 2000) | st.integers(0, 4000).map(lambda n: n / 2)
targets = st.integers(1, 100) | st.just(100)  # which alone can be out of reach


def reached(present, total, target):
    """Whether a share is at the target, exactly."""
    return Fraction(present) * 100 >= target * Fraction(total)


@settings(max_examples=200)
@given(counts, counts.filter(bool), targets)
def test_the_target_holds_with_so_many_missed_and_with_no_more(present, total, target):
    """`canMiss` is the last number with which it does; 0 below the target."""
    miss, _ = planned(present, total, target)
    assert miss is not None
    if reached(present, total, target):
        assert reached(present, total + miss, target)
        assert not reached(present, total + miss + 1, target)
    else:
        assert miss == 0


@settings(max_examples=200)
@given(counts, counts.filter(bool), targets)
def test_the_target_is_reached_with_so_many_attended_and_no_fewer(
    present, total, target
):
    """`mustAttend` is the first number with which it is; 0 at or above the target."""
    _, attend = planned(present, total, target)
    if attend is None:
        assert target == 100
        assert not reached(present, total, target)
        return
    assert reached(present + attend, total + attend, target)
    assert attend == 0 or not reached(present + attend - 1, total + attend - 1, target)


@pytest.mark.parametrize(
    ("present", "total", "shown"),
    [
        (13, 19, "68.42%"),
        (2, 3, "66.67%"),
        (132, 159, "83.02%"),
        (4, 5, "80%"),
        (31, 40, "77.5%"),
        (1, 1, "100%"),
        (0, 7, "0%"),
        (0, 0, "0%"),
        (1, 20_000, "0.01%"),
        (30.5, 40, "76.25%"),
        (0.1, 0.3, "33.33%"),
    ],
)
def test_a_computed_percentage_reads_like_the_platforms_own(present, total, shown):
    """Two decimals, half up, trailing zeros dropped; of no classes 0%."""
    assert percent_of(present, total) == shown
