import math
import statistics

import msgspec
import pytest

from aims_server.demo.faults import ENDPOINTS, Faults


def went_wrong(faults, endpoint="cards", calls=1000, uri="/cards"):
    """How many of so many calls went wrong."""
    return sum(faults.next(endpoint, uri) is not None for _ in range(calls))


def test_all_is_well_at_first():
    """A new platform delays nothing and spoils nothing."""
    faults = Faults()
    assert all(went_wrong(faults, endpoint) == 0 for endpoint in ENDPOINTS)
    assert all(faults.delay(endpoint) == 0 for endpoint in ENDPOINTS)


def test_one_endpoint_goes_wrong_alone():
    """A knob of one endpoint leaves the others alone; "*" turns all."""
    faults = Faults()
    faults.set("cards", kind="hang")
    assert went_wrong(faults) == 1000
    assert went_wrong(faults, "quizzes") == 0
    faults.set(kind="reset")
    assert went_wrong(faults, "quizzes") == 1000


def test_knobs_add_up():
    """Turning one knob leaves the others where they were."""
    faults = Faults()
    faults.set(delay=0.2)
    faults.set("cards", kind="status", status=500)
    fault = faults.next("cards", "")
    assert fault is not None
    assert (fault.delay, fault.kind, fault.status) == (0.2, "status", 500)


def test_share_is_drawn_from_the_seed():
    """About the share goes wrong, and the same calls for the same seed."""
    fates = []
    for seed in (1, 1, 2):
        faults = Faults(seed)
        faults.set("cards", kind="reset", share=0.2)
        fates.append([faults.next("cards", "") is None for _ in range(1000)])
    assert 140 < fates[0].count(False) < 260
    assert fates[0] == fates[1] != fates[2]


def test_count_ends_the_trouble():
    """Only the first so many calls go wrong; naming the count starts it anew."""
    faults = Faults()
    faults.set("cards", kind="reset", count=3)
    assert went_wrong(faults) == 3
    faults.set("cards", delay=0.1)
    assert went_wrong(faults) == 0
    faults.set("cards", count=2)
    assert went_wrong(faults) == 2


def test_match_picks_calls():
    """Only calls with the text in their path and query go wrong, and are counted."""
    faults = Faults()
    faults.set("cards", kind="reset", match="cf_id=7", count=1)
    assert went_wrong(faults, uri="/cards?cf_id=8") == 0
    assert went_wrong(faults, uri="/cards?cf_id=7") == 1


def test_jitter_spreads_the_delay():
    """A delay lies between `delay` and `delay + jitter`, and varies."""
    faults = Faults()
    faults.set("cards", delay=1.0, jitter=0.5)
    delays = {faults.delay("cards") for _ in range(100)}
    assert min(delays) >= 1.0
    assert max(delays) <= 1.5
    assert len(delays) == 100


@pytest.mark.parametrize(
    ("endpoint", "knobs"),
    [("nowhere", {}), ("cards", {"kind": "sulk"}), ("cards", {"colour": "red"})],
)
def test_unknown_knobs_are_errors(endpoint, knobs):
    """A misspelt endpoint, kind or knob is refused and changes nothing."""
    faults = Faults()
    with pytest.raises(ValueError, match=r"."):
        faults.set(endpoint, **knobs)
    assert went_wrong(faults) == 0
    assert issubclass(msgspec.ValidationError, ValueError)


def test_sigma_spreads_the_delay_by_its_logarithm():
    """Around the median, with a tail to the slow side."""
    faults = Faults(seed=5)
    faults.set("cards", delay=0.2, sigma=0.5)
    delays = sorted(faults.delay("cards") for _ in range(2000))
    logarithms = [math.log(delay / 0.2) for delay in delays]
    assert 0.19 < delays[1000] < 0.21
    assert 0.47 < statistics.pstdev(logarithms) < 0.53
