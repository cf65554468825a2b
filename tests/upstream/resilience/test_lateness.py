"""When a call is late, by how long the calls before it took."""

import pytest

from aims_server.upstream.resilience.lateness import Lateness


@pytest.mark.parametrize(
    ("known", "late_after"),
    [
        ([0.1] * 2, 3.0),  # too little is known
        ([1.0] + [0.1] * 2, 2.0),  # twice the longest
        ([1.0] + [0.1] * 18, 2.0),
        ([1.0] + [0.1] * 19, 0.2),  # twice the median
        ([None] + [0.1] * 3, 0.2),
        ([1.0] * 9 + [0.1] * 11, 1.0),  # the 95th percentile
        ([1.0] * 9 + [0.1] * 11 + [None] * 2, 1.25),  # of the answered, and a quarter
    ],
)
def test_when_a_call_is_late(known, late_after):
    """It is late by the calls before it; the estimate is at most a tenth too large."""
    lateness = Lateness(soonest=0.0)
    for seconds in known:
        if seconds is None:
            lateness.latency.give_up()
        else:
            lateness.latency.observe(seconds)
    assert late_after <= lateness.late_after <= late_after * 1.1
