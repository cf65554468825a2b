"""What is to be told of charges, and when."""

import pytest

from aims_server.ratelimit import BucketTable, RateLimiter
from aims_server.ratelimit.charges import Charges


def bucket(n):
    """The key of one of several buckets."""
    return n.to_bytes(8, "big")


@pytest.mark.parametrize(
    ("charges", "due"),
    [
        ([(60, 60), (39, 99)], None),
        ([(60, 60), (40, 90)], 100),  # an eighth is untold, whatever the stamp
        ([(60, 100)], 60),  # the stamp has reached an eighth
        ([(60, 200), (-60, 140)], None),  # what was given back is nothing to tell
    ],
)
def test_when_a_bucket_is_due(charges, due):
    """It is due at an eighth of its size, by untold charges or by its stamp."""
    noted = Charges(800)
    ann = bucket(1)
    for cost, ahead in charges:
        noted.note(ann, cost, ahead)
    assert noted.collect(10) == ({ann: due} if due else {})
    assert noted.collect(10) == {}


def test_the_small_ones_are_told_at_last():
    """When all are due nothing is left untold; at most so many buckets go at once."""
    noted = Charges(800)
    for n in range(5):
        noted.note(bucket(n), 1, 1)
    noted.make_all_due()
    assert [len(noted.collect(2)) for _ in range(4)] == [2, 2, 1, 0]


def test_the_small_ones_hold_up_no_other():
    """Thousands of them take seconds to tell; a bucket that fills is told meanwhile."""
    noted = Charges(800)
    for n in range(5):
        noted.note(bucket(n), 1, 1)
    noted.make_all_due()
    noted.note(bucket(3), 1, 200)
    assert noted.collect(1) == {bucket(3): 2}
    assert list(noted.collect(10)) == [bucket(n) for n in (0, 1, 2, 4)]


def test_a_bucket_is_noted_once_however_many_there_are():
    """Between two requests of a student hundreds of others may ask."""
    limit = RateLimiter(
        BucketTable(clock_ns=lambda: 0),
        name="student",
        per_minute=100,
        secret=b"s",
        shared=True,
    )
    for _ in range(3):
        for n in range(300):
            limit.take(str(n))
    assert limit.charges is not None
    limit.charges.make_all_due()
    assert list(limit.charges.collect(1000).values()) == [3 * limit.cost] * 300


def test_what_is_noted_is_bounded():
    """A flood of clients has those forgotten that were noted longest ago."""
    noted = Charges(800)
    for n in range(20_000):
        noted.note(bucket(n), 1, 1 + 100 * (n == 19_999))
    assert noted.collect(2) == {bucket(19_999): 1}
    noted.make_all_due()
    told = noted.collect(20_000)
    assert list(told) == [bucket(n) for n in range(20_000 - 16_384, 19_999)]
