"""Owns this process's charges to buckets that machines share, until they are sent."""

from itertools import islice
from typing import Final

__all__ = ["Charges"]

_SHARE: Final = 8
_MOST_NOTED: Final = 16384  # 130 bytes each


class Charges:
    """Charges in nanoseconds by the key of a bucket, to be summed over machines.

    >>> charges = Charges(ceiling=800)
    >>> charges.note(b"bucket-1", cost=60, ahead=60)
    >>> charges.collect(10)
    {}
    >>> charges.note(b"bucket-1", cost=60, ahead=110)
    >>> charges.collect(10)
    {b'bucket-1': 120}

    A bucket is due when its unsent charges, or its stamp, have reached an eighth of
    ``ceiling``. With the stamp alone four machines at five requests a second let 300
    pass instead of 199, because each looks idle to itself.

    Above 16 384 buckets the one noted longest ago is forgotten, mostly with less than
    an eighth unsent, so that no flood of clients fills the memory.
    """

    def __init__(self, ceiling: int) -> None:
        self._due_from = ceiling // _SHARE
        # In the order of their first charge.
        self._unsent: dict[bytes, int] = {}
        self._due: dict[bytes, None] = {}
        self._small: dict[bytes, None] = {}  # due when nothing else is

    def note(self, key: bytes, cost: int, ahead: int) -> None:
        """A bucket was charged ``cost``, and its stamp is ``ahead`` of now."""
        unsent = self._unsent.get(key)
        if unsent is None:
            unsent = 0
            if len(self._unsent) == _MOST_NOTED:
                self._take_out(next(iter(self._unsent)))
        self._unsent[key] = unsent = unsent + cost
        if unsent >= self._due_from or ahead >= self._due_from:
            self._due[key] = None

    def make_all_due(self) -> None:
        """Make even the smallest charges due, after all others. Called regularly, this
        makes the sum over machines exact in the long run.
        """
        self._small |= dict.fromkeys(self._unsent)

    def collect(self, most: int) -> dict[bytes, int]:
        """Take out the due charges of at most so many buckets. Those that cannot be
        sent then are lost: sent later, they would be charged to a bucket that has
        filled again.
        """
        collected: dict[bytes, int] = {}
        for keys in (self._due, self._small):
            for key in list(islice(keys, most - len(collected))):
                collected[key] = self._take_out(key)
        return {key: charge for key, charge in collected.items() if charge}

    def _take_out(self, key: bytes) -> int:
        self._due.pop(key, None)
        self._small.pop(key, None)
        return self._unsent.pop(key)
