"""Owns what this process has charged to buckets that other machines charge too, until
it is told to them.
"""

from typing import Final

from .table import Bucket

__all__ = ["Charges"]

_SHARE: Final = 8


class Charges:
    """Charges by bucket, in nanoseconds, to be added up over machines.

    >>> from .table import BucketTable
    >>> bucket = BucketTable(8).bucket(bytes(8))
    >>> charges = Charges(ceiling=800)
    >>> charges.note(bucket, cost=60, ahead=60)
    >>> charges.collect(10)
    {}
    >>> charges.note(bucket, cost=60, ahead=110)
    >>> list(charges.collect(10).values())
    [120]

    A bucket is due when what was not told of it, or its stamp, has reached an eighth of
    ``ceiling``. Judged by the stamp alone, four machines at five requests a second
    let 300 pass where 199 may: each looks idle to itself.
    """

    def __init__(self, ceiling: int) -> None:
        self._due_from = ceiling // _SHARE
        # Those with anything in `Bucket.untold`, in the order of their first charge.
        self._charged: dict[Bucket, None] = {}
        self._due: dict[Bucket, None] = {}

    def note(self, bucket: Bucket, cost: int, ahead: int) -> None:
        """A bucket was charged ``cost``, and its stamp is ``ahead`` of now."""
        untold = bucket.untold
        if not untold:
            self._charged[bucket] = None
        bucket.untold = untold = untold + cost
        if untold >= self._due_from or ahead >= self._due_from:
            self._due[bucket] = None

    def make_all_due(self) -> None:
        """Have even the smallest charges told; often enough, it bounds what is noted
        and makes the sum over machines exact in the long run.
        """
        self._due |= self._charged

    def collect(self, most: int) -> dict[Bucket, int]:
        """Take out what is due, of at most so many buckets. What cannot be told then is
        lost: told later, it would be charged as if it came then, to a bucket that has
        filled again.
        """
        collected = {}
        for bucket in list(self._due)[:most]:
            del self._due[bucket]
            self._charged.pop(bucket, None)
            charge, bucket.untold = bucket.untold, 0
            if charge:
                collected[bucket] = charge
        return collected
