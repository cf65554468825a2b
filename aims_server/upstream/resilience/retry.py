"""Owns how often failed calls may be retried, and full jitter; makes no call itself."""

import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final

from ...deadline import Clock

__all__ = ["RecentCounts", "RetryBudget", "full_jitter"]

_SECONDS: Final = 10
# Of few calls more than the average share may fail by chance. If every fifth call
# fails, a caller's 40 calls in 10 s need more than 12 + 8 retries once in 180 times,
# and more than 24 + 8 never in 40 000.
_OWN: Final = 2.0
_HEDGES_SHARE: Final = 0.1
_HEDGES_FLOOR: Final = 10.0
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
    return random() * min(_LONGEST, _BOUND * 2.0**attempt)


class RecentCounts:
    """Counts of each caller over the last 10 s. They are kept by whole seconds, so each
    count lasts for 9 to 10 s.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._total = 0
        self._seconds: dict[int, Counter[Hashable]] = {}

    @property
    def total(self) -> int:
        """The count of all callers."""
        self._this_second()
        return self._total

    def add(self, caller: Hashable, count: int = 1) -> None:
        """Count one more, or ``count`` more; -1 takes one back."""
        self._this_second()[caller] += count
        self._total += count

    def of(self, caller: Hashable) -> int:
        """The count of one caller."""
        self._this_second()
        return sum(counts[caller] for counts in self._seconds.values())

    def _this_second(self) -> Counter[Hashable]:
        """The counts of this second; a new second drops the old ones."""
        second = int(self._clock())
        if second not in self._seconds:
            for old in [each for each in self._seconds if each <= second - _SECONDS]:
                self._total -= self._seconds.pop(old).total()
            self._seconds[second] = Counter()
        return self._seconds[second]


class RetryBudget:
    """Limits extra calls to a share of the recent first tries, plus a floor.

    >>> budget = RetryBudget(share=0.25, floor=1)
    >>> for _ in range(4):
    ...     budget.tries.add("a")
    >>> [budget.take("a"), budget.take("b"), budget.take("c")]
    [True, True, False]

    In 10 s there may be at most share * tries + floor of them. One caller may make
    2 * share * (its own tries) + floor / 2, at least one: if its calls fail for reasons
    of its own, the others keep theirs.

    This is Finagle's budget (https://finagle.github.io/blog/2016/02/08/retry-budgets)
    with a larger share: if every fifth call fails at random, a quarter more calls mend
    them all, while a dead platform sees a third more load and not several times as
    much.
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
        self._clock = clock
        self.tries = tries or RecentCounts(clock)
        """Count each first try here; several budgets may share these counts."""

        self._extra = RecentCounts(clock)

    def for_hedges(self) -> "RetryBudget":
        """A second budget, for hedges: a tenth of the same first tries, and a floor."""
        return RetryBudget(
            share=_HEDGES_SHARE,
            floor=_HEDGES_FLOOR,
            clock=self._clock,
            tries=self.tries,
        )

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

    def give_back(self, caller: Hashable) -> None:
        """An extra call was no more load: it took the place of one that hung."""
        self._extra.add(caller, -1)
