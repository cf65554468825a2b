"""What is to be told of charges, and when."""

import pytest

from aims_server.ratelimit import BucketTable
from aims_server.ratelimit.charges import Charges

TABLE = BucketTable(8)


def bucket(n):
    """One of several buckets."""
    return TABLE.bucket(bytes([n] * 16))


@pytest.mark.parametrize(
    ("charges", "due"),
    [
        ([(60, 60)], None),
        ([(60, 60), (40, 90)], 100),  # an eighth is untold, whatever the stamp
        ([(60, 100)], 60),  # the stamp has reached an eighth
        ([(60, 200), (-60, 140)], None),  # what was given back is nothing to tell
    ],
)
def test_when_a_bucket_is_due(charges, due):
    """At an eighth of the bucket, of what is untold or of its stamp."""
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
