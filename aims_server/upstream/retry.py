"""Owns how often and how soon a failed call may be made again; makes none itself."""

import random as _random
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from ..deadline import Clock

__all__ = ["RetryBudget", "full_jitter"]

_TICKS: Final = 10


def full_jitter(
    attempt: int,
    *,
    base: float = 0.05,
    cap: float = 1.0,
    random: Callable[[], float] = _random.random,
) -> float:
    """Seconds to wait before retry number `attempt`, counted from 0.

    "Full jitter": uniform between 0 and min(cap, base * 2**attempt), so that calls
    which failed together do not come back together (M. Brooker, "Exponential Backoff
    And Jitter", AWS Architecture Blog, 2015).
    """
    doublings = min(attempt, 64)  # beyond that any cap is met and floats overflow
    return random() * min(cap, base * 2.0**doublings)


class _Tick(Struct):
    number: int
    tries: int = 0
    retries: int = 0


class RetryBudget:
    """Lets retries be a share of the recent tries, plus a floor; keeps no queue.

    In the last `ttl` seconds there may be at most share * tries + min_per_second * ttl
    retries. It is Finagle's budget
    (https://finagle.github.io/blog/2016/02/08/retry-budgets) with its defaults: a dead
    platform sees a fifth more load, not three times the load, while a quiet service
    may still retry. Time is counted in tenths of `ttl`, so a credit lives 0.9-1.0 ttl.
    """

    def __init__(
        self,
        *,
        share: float = 0.2,
        min_per_second: float = 10.0,
        ttl: float = 10.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._share = share
        self._floor = min_per_second * ttl
        self._tick_seconds = ttl / _TICKS
        self._clock = clock
        self._ticks: deque[_Tick] = deque()
        self._tries = 0
        self._retries = 0

    def record_try(self) -> None:
        """Count a first try, which is worth `share` of a retry."""
        self._current().tries += 1
        self._tries += 1

    def take(self) -> bool:
        """Whether one retry may be made now; True counts it as made."""
        tick = self._current()
        if self._retries + 1 > self._share * self._tries + self._floor:
            return False
        tick.retries += 1
        self._retries += 1
        return True

    def _current(self) -> _Tick:
        number = int(self._clock() // self._tick_seconds)
        while self._ticks and self._ticks[0].number <= number - _TICKS:
            gone = self._ticks.popleft()
            self._tries -= gone.tries
            self._retries -= gone.retries
        if not self._ticks or self._ticks[-1].number != number:
            self._ticks.append(_Tick(number))
        return self._ticks[-1]
