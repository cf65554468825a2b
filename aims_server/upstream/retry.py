"""Owns how often and how soon a failed call may be made again; makes none itself."""

import random as _random
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Final

from ..deadline import Clock

__all__ = ["RetryBudget", "full_jitter"]

_TICKS: Final = 10
_TICK_SECONDS: Final = 1.0
# Of few calls chance lets more fail than their share. Where every fifth does, 40 of a
# caller in 10 s need more than 12 + 8 retries once in 180 times, more than 24 + 8 never
# in 40 000.
_OWN: Final = 2.0


def full_jitter(
    attempt: int,
    *,
    base: float = 0.05,
    cap: float = 0.5,
    random: Callable[[], float] = _random.random,
) -> float:
    """Seconds to wait before retry number `attempt`, counted from 0.

    "Full jitter": uniform between 0 and min(cap, base * 2**attempt), so that calls
    which failed together do not come back together (M. Brooker, "Exponential Backoff
    And Jitter", AWS Architecture Blog, 2015).

    >>> full_jitter(1, random=lambda: 0.5)
    0.05
    """
    doublings = min(attempt, 64)  # beyond that any cap is met and floats overflow
    return random() * min(cap, base * 2.0**doublings)


class _Tick:
    """What was counted in one tenth of the window."""

    __slots__ = ("extra", "number", "tries")

    def __init__(self, number: int) -> None:
        self.number = number
        self.tries: Counter[Hashable] = Counter()
        self.extra: Counter[Hashable] = Counter()


class RetryBudget:
    """Lets extra calls be a share of the recent first tries, plus a floor.

    >>> budget = RetryBudget(share=0.25, floor=1)
    >>> for _ in range(4):
    ...     budget.record_try("a")
    >>> [budget.take("a"), budget.take("b"), budget.take("c")]
    [True, True, False]

    In the last 10 s there may be at most share * tries + floor of them. A
    caller has twice what its own tries have earned and half of the floor (at least
    one), so that one whose calls fail for reasons of its own leaves the others theirs.

    It is Finagle's budget (https://finagle.github.io/blog/2016/02/08/retry-budgets),
    with a larger share: when every fifth call fails at random, a quarter more calls
    mend all of them, while a dead platform sees a third more load, not many times the
    load. Time is counted in seconds, so a credit lives 9 to 10 of them.
    """

    def __init__(
        self,
        *,
        share: float = 0.3,
        floor: float = 16.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._share = share
        self._floor = floor
        self._clock = clock
        self._ticks: deque[_Tick] = deque()
        self._tries = 0
        self._extra = 0

    def record_try(self, caller: Hashable) -> None:
        """Count a first try, which is worth `share` of an extra call."""
        self._current().tries[caller] += 1
        self._tries += 1

    def take(self, caller: Hashable) -> bool:
        """Whether one extra call may be made now; True counts it as made."""
        tick = self._current()
        if self._extra + 1 > self._share * self._tries + self._floor:
            return False
        tries = sum(each.tries[caller] for each in self._ticks)
        extra = sum(each.extra[caller] for each in self._ticks)
        if extra + 1 > max(1.0, _OWN * self._share * tries + self._floor / 2):
            return False
        tick.extra[caller] += 1
        self._extra += 1
        return True

    def _current(self) -> _Tick:
        number = int(self._clock() // _TICK_SECONDS)
        if self._ticks and self._ticks[-1].number == number:
            return self._ticks[-1]
        while self._ticks and self._ticks[0].number <= number - _TICKS:
            gone = self._ticks.popleft()
            self._tries -= gone.tries.total()
            self._extra -= gone.extra.total()
        self._ticks.append(_Tick(number))
        return self._ticks[-1]
