"""How long recent calls took, against the plain list of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aims_server.upstream.resilience.latency import LatencyEstimate


def quantile(durations, share):
    """The shortest of these that is no shorter than this share of them."""
    return sorted(durations)[max(0, math.ceil(share * len(durations)) - 1)]


@given(
    st.lists(st.floats(0.001, 60) | st.none(), min_size=1, max_size=60),
    st.sampled_from([0.5, 0.9, 0.95]),
)
def test_a_quantile_is_at_most_a_tenth_too_large(durations, share):
    """None stands for a call that was given up, which took longer than any."""
    estimate = LatencyEstimate(memory=1_000_000)
    for seconds in durations:
        if seconds is None:
            estimate.give_up()
        else:
            estimate.observe(seconds)
    answered = [seconds for seconds in durations if seconds is not None]
    if not answered:
        with pytest.raises(ValueError, match="nothing"):
            estimate.quantile(share)
        return
    for known, told in (
        (answered, estimate.quantile(share, answered=True)),
        ([d or math.inf for d in durations], estimate.quantile(share)),
    ):
        # The weights differ by a hundred-thousandth: a border may fall to either side.
        lowest, highest = (quantile(known, share + d) for d in (-1e-3, 1e-3))
        assert lowest <= told * (1 + 1e-9)
        assert told <= highest * 1.1 * (1 + 1e-9) or math.isinf(highest)


def test_the_old_fades():
    """After two hundred slow calls nothing is left of a thousand quick ones."""
    estimate = LatencyEstimate(memory=50)
    for _ in range(1000):
        estimate.observe(0.1)
    for _ in range(200):
        estimate.observe(5.0)
    assert estimate.quantile(0.1) >= 5.0


def test_what_is_given_up_has_the_old_fade_too():
    """After forty calls without an answer half of the fifty that matter had none."""
    estimate = LatencyEstimate(memory=50)
    for _ in range(1000):
        estimate.observe(0.1)
    for _ in range(40):
        estimate.give_up()
    assert math.isinf(estimate.quantile(0.5))
    assert (estimate.answered, estimate.count) == (1000, 1040)


@pytest.mark.parametrize("number", [50, 20_000])
def test_it_lasts_for_ever(number):
    """However many calls there were: a third is slow, a third is given up."""
    estimate = LatencyEstimate(memory=20)
    for _ in range(number):
        estimate.observe(0.1)
        estimate.observe(5.0)
        estimate.give_up()
    assert estimate.quantile(0.25) == pytest.approx(0.1, rel=0.1)
    assert estimate.quantile(0.6) == pytest.approx(5.0, rel=0.1)
    assert math.isinf(estimate.quantile(0.75))
    assert estimate.quantile(0.4, answered=True) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(("seconds", "least"), [(-1.0, 0), (0.0, 0), (1e9, 90)])
def test_any_duration_is_taken(seconds, least):
    """A clock may stand still; a call may take for ever."""
    estimate = LatencyEstimate()
    estimate.observe(seconds)
    assert least < estimate.quantile(0.95) < 100
