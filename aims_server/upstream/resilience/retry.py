"""Owns how often and how soon a failed call may be made again; makes none itself."""

import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final

from ...deadline import Clock

__all__ = ["RecentCounts", "RetryBudget", "full_jitter"]

_SECONDS: Final = 10
# Of few calls chance lets more fail than their share. Where every fifth does, 40 of a
# caller in 10 s need more than 12 + 8 retries once in 180 times, more than 24 + 8 never
# in 40 000.
_OWN: Final = 2.0
_BOUND: Final = 0.05  # seconds before the first retry
_LONGEST: Final = 0.5


def full_jitter(attempt: int, random: Callable[[], float]) -> float:
    """Seconds to wait before retry number `attempt`, counted from 0.

    "Full jitter": uniform between 0 and min(0.5, 0.05 * 2**attempt), so that calls
    which failed together do not come back together (M. Brooker, "Exponential Backoff
    And Jitter", AWS Architecture Blog, 2015).

    >>> full_jitter(1, random=lambda: 0.5)
    0.05
    """
    doublings = min(attempt, 64)  # beyond that floats overflow
    return random() * min(_LONGEST, _BOUND * 2.0**doublings)


class RecentCounts:
    """How often each caller did something in the last 10 s. Time is counted in seconds,
    so that each time counts for 9 to 10 of them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._total = 0
        self._seconds: dict[int, Counter[Hashable]] = {}

    @property
    def total(self) -> int:
        """Of all callers."""
        self._this_second()
        return self._total

    def add(self, caller: Hashable) -> None:
        """Count one more."""
        self._this_second()[caller] += 1
        self._total += 1

    def of(self, caller: Hashable) -> int:
        """Of one caller."""
        self._this_second()
        return sum(counts[caller] for counts in self._seconds.values())

    def _this_second(self) -> Counter[Hashable]:
        """What is counted now; with each new second the oldest is forgotten."""
        second = int(self._clock())
        if second not in self._seconds:
            for old in [each for each in self._seconds if each <= second - _SECONDS]:
                self._total -= self._seconds.pop(old).total()
            self._seconds[second] = Counter()
        return self._seconds[second]


class RetryBudget:
    """Lets extra calls be a share of the recent first tries, plus a floor.

    >>> budget = RetryBudget(share=0.25, floor=1)
    >>> for _ in range(4):
    ...     budget.tries.add("a")
    >>> [budget.take("a"), budget.take("b"), budget.take("c")]
    [True, True, False]

    In the last 10 s there may be at most share * tries + floor of them. A
    caller has twice what its own tries have earned and half of the floor (at least
    one), so that one whose calls fail for reasons of its own leaves the others theirs.

    It is Finagle's budget (https://finagle.github.io/blog/2016/02/08/retry-budgets),
    with a larger share: when every fifth call fails at random, a quarter more calls
    mend all of them, while a dead platform sees a third more load, not many times the
    load. A credit lives 9 to 10 s.
    """

    def __init__(
        self,
        *,
        share: float = 0.3,
        floor: float = 16.0,
        clock: Clock = time.monotonic,
        tries: RecentCounts | None = None,
    ) -> None:
        self._share = share
        self._floor = floor
        self.tries = tries or RecentCounts(clock)
        """Count each first try here, which is worth `share` of an extra call; several
        budgets may have the same.
        """

        self._extra = RecentCounts(clock)

    def take(self, caller: Hashable) -> bool:
        """Whether one extra call may be made now; True counts it as made."""
        tries, extra = self.tries, self._extra
        if extra.total + 1 > self._share * tries.total + self._floor:
            return False
        own = _OWN * self._share * tries.of(caller) + self._floor / 2
        if extra.of(caller) + 1 > max(1.0, own):
            return False
        extra.add(caller)
        return True
